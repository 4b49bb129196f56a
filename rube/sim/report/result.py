"""The result of a run of a scenario: counts, verdicts, latencies, the hash of its trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rube.sim.judges import ErrorsLogged, LatencySummary, RefusalSummary, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The amounts of what was simulated."""

    etcd_members: int
    """0: the store is on an apiserver's disk."""
    apiservers: int
    relays: int
    controllers: int
    """Replicas of the controllers; 0: they run beside the apiservers."""
    nodes: int
    units: int
    """Units in the store in the end."""
    observers: int
    # Requests of users and how many were acknowledged.
    attempts: int
    acknowledged: int
    commits: int
    watch_events: int
    records: int
    """Trace records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run of a scenario: the same scenario and seed give the same Result, always."""

    name: str
    description: str
    seed: int
    tie_break: bool
    """The seed has also ordered the tasks that were ready at one instant."""
    counts: Counts
    events: Sequence[tuple[int, str]]
    """(virtual ns, what) of every step and fault, in order."""
    verdicts: Sequence[Verdict]
    latencies: Sequence[LatencySummary]
    virtual_ns: int
    trace_sha256: str
    faults: Sequence[tuple[int, int]] = ()
    """The begin and the end of every fault of the scenario, in virtual nanoseconds; equal: it was one moment."""
    elections: int = 0
    """Times that a member of a replicated group stood for election."""
    stopped: bool = False
    """The run was stopped at `virtual_ns`, before its end, and judged there."""
    refusals: Sequence[RefusalSummary] = ()
    """Calls of controllers that apiservers refused."""
    errors: Sequence[ErrorsLogged] = field(default=(), compare=False)
    """By host and logger: depends on logging, so it is not compared between runs."""

    @property
    def passed(self) -> bool:
        return all(verdict.passed for verdict in self.verdicts)


def repeat_command(arguments: str, seed: int, *, tie_break: bool = False) -> str:
    """The command that runs exactly this again; `arguments` are those of `LoadedScenario`."""
    return f"rube sim {arguments} --seed {seed}{' --tie-break' if tie_break else ''}"
