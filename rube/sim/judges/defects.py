"""The promises of every daemon: it knows each error that it meets, and ends by itself only if its disk fails."""

from __future__ import annotations

from collections.abc import Iterator

from rube.api.errors import DataLossError
from rube.sim.judges.history import History
from rube.sim.judges.records import Attempt, Stream
from rube.sim.judges.verdict import Verdict, judge, time_text

CHECK = "defects"
# What a member says that has lost a part of its log.
_BROKEN = "an invariant is broken"


def defects(history: History) -> Verdict:
    """Checks that no daemon logged an exception that is not one of Rube's errors, and that none ended, or answered,
    that data is lost while the disks had kept everything that was synced.

    Such a call is answered INTERNAL, such a daemon is started again, and often nothing else shows it.
    """
    return judge(
        CHECK,
        "no daemon met an error that its code does not know, or ended without a reason",
        [*_exceptions(history), *_losses(history), *_answers(history)],
        "a daemon met an error that its code does not know, or ended without a reason",
    )


def _exceptions(history: History) -> Iterator[str]:
    for found in history.exceptions:
        if found.host in history.forgetful_disks and _BROKEN in found.text:
            continue
        yield f"{time_text(found.at_ns)} {found.host} logged {found.text}"


def _losses(history: History) -> Iterator[str]:
    for lost in history.losses:
        if lost.host not in history.failed_disks:
            yield f"{time_text(lost.at_ns)} the daemon of {lost.host} ended, and its disk is whole: {lost.text}"


def _answers(history: History) -> Iterator[str]:
    """Yields answers of damaged data from stores whose bytes are whole."""
    if history.failed_disks:
        return
    calls: list[Attempt | Stream] = [*history.attempts, *history.streams]
    for call in calls:
        if isinstance(call.error, DataLossError):
            yield f"{call.where} was answered DATA_LOSS, and no disk has failed: {call.error.message}"
