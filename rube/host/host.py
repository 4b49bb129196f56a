"""The host that a component is constructed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rube.host.clock import Clock
from rube.host.engine import Engine, Wreck
from rube.host.network import Network
from rube.host.randomness import Randomness


class Storage(Protocol):
    """Opens engines by URL: `memory:`, `sqlite:///path` (relative path) or `sqlite:////path` (absolute), likewise
    `rocksdb`."""

    async def open(self, url: str, *, read_only: bool = False) -> Engine:
        """Opens the engine at `url`, and creates it if it is missing.

        Read-only: as it is at one point during this call, even while another process has it open; a commit raises
        FailedPreconditionError, and so does `open` if there is no engine.

        Otherwise raises InvalidArgumentError for an unknown URL, FailedPreconditionError if another process has it open
        or a package is missing, DataLossError if it is damaged; each names the remedy.
        """
        ...


class Wrecks(Protocol):
    """Opens damaged engines by URL, as `Storage` opens sound ones."""

    async def salvage(self, url: str) -> Wreck:
        """Returns the readable part of the engine at `url`. Raises FailedPreconditionError if there is no engine, or a
        process has it open; InvalidArgumentError for an unknown URL."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine, real or simulated, as its components see it."""

    name: str
    clock: Clock
    network: Network
    storage: Storage
    random: Randomness
