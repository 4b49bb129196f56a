"""Conditions of a status: the facts about an object that its controllers report (rube/api/conditions.proto)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rube.api import StatusCondition

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
    from google.protobuf.timestamp_pb2 import Timestamp


def set_condition(
    conditions: RepeatedCompositeFieldContainer[StatusCondition], condition: StatusCondition, now: Timestamp
) -> bool:
    """Sets the condition of its type among those of a status; returns whether anything is another.

    The transition time is `now` where the state is another one than before, and otherwise stays as it is.
    """
    found = find_condition(conditions, condition.type)
    wanted = StatusCondition()
    wanted.CopyFrom(condition)
    if found is not None and found.state == wanted.state:
        wanted.transition_time.CopyFrom(found.transition_time)
    else:
        wanted.transition_time.CopyFrom(now)
    if found is None:
        conditions.append(wanted)
        return True
    changed = found != wanted
    found.CopyFrom(wanted)
    return changed


def find_condition(conditions: Any, type_name: str) -> StatusCondition | None:
    """Returns the condition of that type; None if there is none."""
    return next((found for found in conditions if found.type == type_name), None)
