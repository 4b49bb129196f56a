"""The promise of controllers: when nothing changes any more, they come to rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from rube.api import Lease
from rube.sim.judges.history import History
from rube.sim.judges.records import Attempt, Outcome, Refusal
from rube.sim.judges.verdict import Verdict, judge, many, not_judged, time_text

CHECK = "comes_to_rest"
WITHIN_NS = 30_000_000_000
WRITES_MIN = 2
"""A daemon that writes an object so often once all should be at rest never stops."""
REFUSALS_MIN = 3
"""A controller that is refused so often since the last step and fault, and at rest too, never stops."""
# Renewed for as long as their holders live.
_HEARTBEATS = f"{Lease.DESCRIPTOR.full_name}/"


def comes_to_rest(history: History, within_ns: int = WITHIN_NS, *, asked: bool = True) -> Verdict:
    """Checks that, from `within_ns` after the last step and fault on, no daemon writes the same object again and again,
    and no call of a controller is refused again and again. Leases are renewed, which is not judged.

    If the check was `asked` for, the world must last so long.
    """
    begin_ns = history.quiet_ns + within_ns
    if begin_ns >= history.end_ns:
        why = f"the world ends before {time_text(begin_ns)}, {time_text(within_ns)} after the last fault"
        return Verdict(check=CHECK, passed=False, text=f"not judged: {why}") if asked else not_judged(CHECK, why)
    late = [
        attempt
        for attempt in history.attempts
        if attempt.is_write and not attempt.user and attempt.start_ns >= begin_ns and attempt.outcome is Outcome.OK
    ]
    refused = [refusal for refusal in history.refusals if refusal.at_ns >= begin_ns]
    often = Counter(_call(refusal) for refusal in history.refusals if refusal.at_ns >= history.quiet_ns)
    return judge(
        CHECK,
        f"from {time_text(begin_ns)} on no daemon wrote or was refused again and again",
        [*_writers(late), *_refused(refused, often)],
        f"{many(len(late) + len(refused), 'call')} after {time_text(begin_ns)}, when all should be at rest: a livelock",
    )


def _writers(late: list[Attempt]) -> Iterator[str]:
    by_object: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in late:
        for key in attempt.keys:
            if not key.startswith(_HEARTBEATS):
                by_object[key, attempt.client].append(attempt)
    for key, client in sorted(by_object, key=lambda item: (-len(by_object[item]), item)):
        attempts = by_object[key, client]
        if len(attempts) >= WRITES_MIN:
            kinds = Counter(attempt.kind for attempt in attempts)
            told = ", ".join(f"{kind} {count} times" for kind, count in sorted(kinds.items()))
            yield f"{time_text(attempts[-1].start_ns)} {client} goes on with {key}: {told} at rest"


def _call(refusal: Refusal) -> tuple[str, str, str, str]:
    return refusal.controller, refusal.host, refusal.key, refusal.code


def _refused(late: list[Refusal], often: Counter[tuple[str, str, str, str]]) -> Iterator[str]:
    """Yields the refusals that go on. `often` counts since the last step and fault, for they come at growing
    intervals."""
    by_call: dict[tuple[str, str, str, str], list[Refusal]] = defaultdict(list)
    for refusal in late:
        by_call[_call(refusal)].append(refusal)
    for call in sorted(by_call, key=lambda item: (-len(by_call[item]), item)):
        refusals = by_call[call]
        controller, host, key, code = call
        if often[call] >= REFUSALS_MIN:
            yield (
                f"{time_text(refusals[-1].at_ns)} a call of {controller} on {host} for {key} was refused with {code} "
                f"{often[call]} times since the last fault, last: {refusals[-1].message}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalSummary:
    """The calls of one controller that were refused with one code, on all hosts."""

    controller: str
    code: str
    count: int
    # The newest of them.
    last_ns: int
    last_host: str
    last_key: str
    last_message: str


def summarize_refusals(history: History) -> list[RefusalSummary]:
    """Returns the refusals by controller and code."""
    found: dict[tuple[str, str], list[Refusal]] = defaultdict(list)
    for refusal in history.refusals:
        found[refusal.controller, refusal.code].append(refusal)
    return [
        RefusalSummary(
            controller=controller,
            code=code,
            count=len(refusals),
            last_ns=refusals[-1].at_ns,
            last_host=refusals[-1].host,
            last_key=refusals[-1].key,
            last_message=refusals[-1].message,
        )
        for (controller, code), refusals in sorted(found.items())
    ]
