"""The parts of an apiserver that its verbs share."""

from __future__ import annotations

from dataclasses import dataclass

from rube.host import Host
from rube.server.config import ApiServerConfig
from rube.server.known_types import KnownTypes
from rube.server.writes import Writer
from rube.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """The store, and what stands between it and the verbs."""

    host: Host
    store: Store
    writer: Writer
    types: KnownTypes
    config: ApiServerConfig
