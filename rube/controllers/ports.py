"""The ports of the runtime to the cluster: a cache to see with, and calls to write with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from rube.api import (
    ApplyRequest,
    ApplyResponse,
    DeleteRequest,
    DeleteResponse,
    GetRequest,
    GetResponse,
    Object,
    PatchRequest,
    PatchResponse,
    PutRequest,
    PutResponse,
    UpdateLifecycleRequest,
    UpdateLifecycleResponse,
    UpdateStatusRequest,
    UpdateStatusResponse,
)
from rube.api.keys import ObjectKey
from rube.client import Change
from rube.controllers.contract import View

Listener = Callable[[Change | None], None]
"""Told of an object that changed; None: of anything else about the cache."""


class Position(NamedTuple):
    """A revision of `store_id` up to which everything has been seen."""

    revision: int
    store_id: str


class Cache(View, Protocol):
    """A local copy of the objects of some types, kept up to date from the apiserver."""

    def keys(self, type_name: str) -> Sequence[ObjectKey]:
        """Returns the keys of all objects of that type, sorted."""
        ...

    def position(self, type_name: str) -> Position | None:
        """Returns the position of the copy of that type; None for a type that is not kept."""
        ...

    @property
    def synced(self) -> bool:
        """True once the copy was complete at its position: an absent object is deleted. Stays true while the server is
        away."""
        ...

    @property
    def connected(self) -> bool:
        """True while the server answers."""
        ...

    def assume(self, decided: ObjectKey, objects: Sequence[Object]) -> None:
        """Lets `labelled` show these objects, which the newest decision about `decided` puts, as if they were written;
        each until the copy sees a change of it, or the next call of this for `decided`."""
        ...

    def subscribe(self, listener: Listener) -> None:
        """Calls `listener` synchronously after each change of objects, position, `synced` or `connected`."""
        ...

    def unsubscribe(self, listener: Listener) -> None: ...


class Calls(Protocol):
    """The writes of api.Api, and a read for those that depend on one.

    Each raises the RubeError that it ended with, after its own bounded retries if any.
    """

    async def get(self, request: GetRequest) -> GetResponse: ...

    async def put(self, request: PutRequest) -> PutResponse: ...

    async def patch(self, request: PatchRequest) -> PatchResponse: ...

    async def apply(self, request: ApplyRequest) -> ApplyResponse: ...

    async def delete(self, request: DeleteRequest) -> DeleteResponse: ...

    async def update_status(self, request: UpdateStatusRequest) -> UpdateStatusResponse: ...

    async def update_lifecycle(self, request: UpdateLifecycleRequest) -> UpdateLifecycleResponse: ...
