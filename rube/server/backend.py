"""The parts of a server that its verbs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rube.host import Host
from rube.server.config import ApiServerConfig
from rube.server.known_types import KnownTypes
from rube.server.writes import IntentWriter
from rube.store import Store

if TYPE_CHECKING:
    from rube.server.rights.sight import Sight


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """The parts that reads need: the store and the types."""

    store: Store
    types: KnownTypes
    config: ApiServerConfig
    sight: Sight | None = None
    """None: the caller may see everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend(Reads):
    """The parts that writes need, too."""

    host: Host
    writer: IntentWriter
    caller: str = ""
    """The caller, where rights are on and it matters to the answer."""
