"""The steps of a case of field owners, and its outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf import text_format

from rube.api import (
    ApplyRequest,
    Metadata,
    Object,
    OwnerReference,
    PatchRequest,
    PutRequest,
    Unit,
)
from rube.api.errors import FieldConflictError
from rube.api.types import pack
from tests.conformance.api.api_sites import Served

Owners = Mapping[str, Sequence[str]]


def wanted(text: str, **metadata: Any) -> Object:
    return Object(
        metadata=Metadata(namespace="system", name="a", **metadata), spec=pack(text_format.Parse(text, Unit()))
    )


@dataclass(frozen=True)
class Apply:
    owner: str
    obj: Object
    force: bool = False
    conflicts: Sequence[tuple[str, str]] = ()

    async def run(self, api: Served) -> None:
        request = ApplyRequest(objects=[self.obj], owner=self.owner, force=self.force)
        if not self.conflicts:
            await api.client.apply(request)
            return
        before = api.store.revision
        with pytest.raises(FieldConflictError) as raised:
            await api.client.apply(request)
        assert api.store.revision == before
        assert raised.value.metadata["conflicts"] == str(len(self.conflicts))
        for owner, field in self.conflicts:
            assert f'"owner":"{owner}","field":"{field}"' in raised.value.metadata["fields"]
            assert field in raised.value.message
            assert repr(owner) in raised.value.message


@dataclass(frozen=True)
class Put:
    obj: Object
    owner: str = ""

    async def run(self, api: Served) -> None:
        await api.client.put(PutRequest(objects=[self.obj], owner=self.owner))


@dataclass(frozen=True)
class Patch:
    obj: Object
    paths: Sequence[str]
    owner: str = ""

    async def run(self, api: Served) -> None:
        request = PatchRequest(object=self.obj, owner=self.owner)
        request.update_mask.paths.extend(self.paths)
        await api.client.patch(request)


@dataclass(frozen=True)
class Delete:
    async def run(self, api: Served) -> None:
        await api.delete("a")


@dataclass(frozen=True)
class Report:
    async def run(self, api: Served) -> None:
        await api.set_status("a", "active")


Step = Apply | Put | Patch | Delete | Report


@dataclass(frozen=True)
class Case:
    name: str
    steps: Sequence[Step]
    spec: str
    owners: Owners
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    references: Sequence[OwnerReference] | None = None


def apply(owner: str, text: str, *conflicts: tuple[str, str], force: bool = False, **metadata: Any) -> Apply:
    return Apply(owner, wanted(text, **metadata), force, conflicts)


def put(text: str, owner: str = "", **metadata: Any) -> Put:
    return Put(wanted(text, **metadata), owner)


def patch(text: str, *paths: str, owner: str = "", **metadata: Any) -> Patch:
    return Patch(wanted(text, **metadata), paths, owner)


def item(uid: int) -> list[str]:
    """The paths of all of an owner reference."""
    return [f"metadata.owner_references.{uid}.{field}" for field in ("name", "type")]


def leaves(fields: Sequence[str]) -> list[str]:
    """The fields without the messages around others of them."""
    return [field for field in fields if not any(other.startswith(f"{field}.") for other in fields)]
