"""The line of `ructl logs` about a unit whose log is empty."""

from __future__ import annotations

import pytest

from rube.api import LogsRequest, Metadata, Object, Service, Unit, UnitStatus
from rube.api.types import pack
from ructl.logs import why_silent


def _unit(status: UnitStatus, output: str = "") -> Object:
    spec = Unit(service=Service(standard_output=output))
    return Object(
        metadata=Metadata(namespace="a", name="web", generation=1, labels={"node": "w1"}),
        spec=pack(spec),
        status=pack(status),
    )


RUNS = UnitStatus(active_state="active", sub_state="running", node="w1", observed_generation=1)
FAILED = UnitStatus(
    active_state="failed",
    sub_state="failed",
    result="exit-code",
    node="w1",
    observed_generation=1,
    message="failed: exec.start: /no: no such file",
)
ANY_AGE = LogsRequest(lines=5)
OF_TEN_MINUTES = LogsRequest(lines=5)
OF_TEN_MINUTES.since.FromSeconds(600)


@pytest.mark.parametrize(
    ("obj", "asked", "says"),
    [
        (_unit(RUNS), ANY_AGE, "a/web has printed nothing; it is active (running) on w1 (see"),
        (_unit(FAILED), ANY_AGE, "(exit-code) on w1: exec.start: /no: no such file (see 'ructl"),
        (_unit(RUNS), OF_TEN_MINUTES, "a/web has printed nothing in that time: leave --since out for older output"),
        (
            _unit(RUNS, "file:/var/log/web"),
            ANY_AGE,
            "has nothing in the log: its output goes to file:/var/log/web",
        ),
    ],
)
def test_an_empty_log_is_explained(obj: Object, asked: LogsRequest, says: str) -> None:
    assert says in why_silent(obj, asked)
