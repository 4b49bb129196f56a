"""Occurrences of a unit, for its events: runs, ends, restarts, and what its definition or an action ran into."""

from __future__ import annotations

from collections.abc import Iterator

from rube.api import CoreEvent, Occurrence, UnitStatus

START_LIMIT_HIT = "start-limit-hit"


def occurrences(
    status: UnitStatus, *, node: str, why_failed: str, error: str, invalid: str, refusal: str = ""
) -> Iterator[Occurrence]:
    """Yields what is so of the object's own unit: a run, an end or a restart is another one each time.

    `error` is why its last action failed, `invalid` why its definition is not applied, and `refusal` why the node's
    policy forbids it; each is empty if not.
    """
    if refusal:
        yield Occurrence(type=CoreEvent.WARNING, reason="Refused", message=refusal)
    elif invalid:
        yield Occurrence(type=CoreEvent.WARNING, reason="NotApplied", message=invalid)
    elif error:
        yield Occurrence(type=CoreEvent.WARNING, reason="ActionFailed", message=error)
    run = f"{status.active_time.ToNanoseconds()}/{status.restarts}"
    if status.active_state == "active":
        yield Occurrence(reason="Started", message=f"started on node {node}", id=run)
    elif status.active_state == "failed":
        reason = "RestartedTooOften" if status.result == START_LIMIT_HIT else "Failed"
        yield Occurrence(type=CoreEvent.WARNING, reason=reason, message=why_failed, id=run)
    elif status.sub_state == "auto-restart":
        severity = CoreEvent.WARNING if why_failed else CoreEvent.NORMAL
        yield Occurrence(type=severity, reason="Restarting", message=why_failed or "restarts after it ended", id=run)


def removal(node: str, uid: str) -> Occurrence:
    """Returns that a unit goes which has no object here any more; `uid` is that of the object which it had."""
    message = f"stopped and removed on node {node}: it was deleted, or is another node's now"
    return Occurrence(reason="Removing", message=message, uid=uid)


def release(node: str, where: str) -> Occurrence:
    return Occurrence(reason="Released", message=f"stopped and removed on node {node}, to move to {where}")
