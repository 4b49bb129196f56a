"""Conditions of a status."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from rube.api import NamespaceStatus, StatusCondition
from rube.api.conditions import find_condition, set_condition

TRUE, FALSE = StatusCondition.TRUE, StatusCondition.FALSE


def test_the_transition_time_is_that_of_the_state() -> None:
    conditions = NamespaceStatus().conditions
    assert set_condition(conditions, StatusCondition(type="Ready", state=TRUE), Timestamp(seconds=1))
    assert set_condition(conditions, StatusCondition(type="Ready", state=TRUE, reason="R"), Timestamp(seconds=2))
    assert not set_condition(conditions, StatusCondition(type="Ready", state=TRUE, reason="R"), Timestamp(seconds=3))
    (found,) = conditions
    assert (found.transition_time.seconds, found.reason) == (1, "R")
    assert set_condition(conditions, StatusCondition(type="Ready", state=FALSE), Timestamp(seconds=4))
    (found,) = conditions
    assert (found.transition_time.seconds, found.state, found.reason) == (4, FALSE, "")


def test_there_is_one_condition_of_each_type() -> None:
    conditions = NamespaceStatus().conditions
    set_condition(conditions, StatusCondition(type="Ready"), Timestamp(seconds=1))
    set_condition(conditions, StatusCondition(type="Full"), Timestamp(seconds=1))
    assert [found.type for found in conditions] == ["Ready", "Full"]
    assert find_condition(conditions, "Full") == conditions[1]
    assert find_condition(conditions, "Other") is None
