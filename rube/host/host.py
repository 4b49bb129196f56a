"""What a component is constructed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rube.host.clock import Clock
from rube.host.engine import Engine, Wreck
from rube.host.network import Network
from rube.host.randomness import Randomness


class Storage(Protocol):
    """Opens engines by URL: `memory:`, and `sqlite:///path` (relative path) or `sqlite:////path` (absolute), or so
    with `rocksdb`."""

    async def open(self, url: str, *, read_only: bool = False) -> Engine:
        """The engine at `url`, created if it is not there.

        Read-only: as it is at some moment of this call, also while another process has it open; a commit raises
        FailedPreconditionError, and so does `open` where there is none.

        Otherwise raises InvalidArgumentError for a URL it does not know, FailedPreconditionError where another process
        has it open or a package is missing, DataLossError where it is damaged; each says the remedy.
        """
        ...


class Wrecks(Protocol):
    """Opens damaged engines by URL, as `Storage` opens sound ones."""

    async def salvage(self, url: str) -> Wreck:
        """What is left of the engine at `url`. Raises FailedPreconditionError where there is none, or a process has it
        open; InvalidArgumentError for a URL that it does not know."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine, real or simulated, as its components see it."""

    name: str
    clock: Clock
    network: Network
    storage: Storage
    random: Randomness
