"""The parts of an apiserver that its verbs share."""

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
class Backend:
    """The store, and what stands between it and the verbs."""

    host: Host
    store: Store
    writer: IntentWriter
    types: KnownTypes
    config: ApiServerConfig
    caller: str = ""
    """The caller, where rights are on and it matters to the answer."""
    sight: Sight | None = None
    """None: the caller may see everything."""
