"""What `ructl logs` says of a unit whose log is empty."""

import pytest

from rube import api_pb2
from rube.api import registry, systemd_pb2
from ructl.logs import why_silent


def _unit(status: systemd_pb2.UnitStatus, output: str = "") -> api_pb2.Object:
    spec = systemd_pb2.Unit(service=systemd_pb2.Service(standard_output=output))
    return api_pb2.Object(
        metadata=api_pb2.Metadata(namespace="a", name="web", generation=1, labels={"node": "w1"}),
        spec=registry.pack(spec),
        status=registry.pack(status),
    )


RUNS = systemd_pb2.UnitStatus(active_state="active", sub_state="running", node="w1", observed_generation=1)
FAILED = systemd_pb2.UnitStatus(
    active_state="failed",
    sub_state="failed",
    result="exit-code",
    node="w1",
    observed_generation=1,
    message="failed: exec.start: /no: no such file",
)
ANY_AGE = api_pb2.LogsRequest(lines=5)
OF_TEN_MINUTES = api_pb2.LogsRequest(lines=5)
OF_TEN_MINUTES.since.FromSeconds(600)


@pytest.mark.parametrize(
    ("obj", "asked", "says"),
    [
        (_unit(RUNS), ANY_AGE, "a/web has printed nothing; it is active (running) on w1 (see"),
        (_unit(FAILED), ANY_AGE, "(exit-code) on w1: exec.start: /no: no such file (see 'ructl"),
        (_unit(RUNS), OF_TEN_MINUTES, "a/web has printed nothing in that time: leave --since out for what is older"),
        (
            _unit(RUNS, "file:/var/log/web"),
            ANY_AGE,
            "has nothing in the log: its output goes to file:/var/log/web",
        ),
    ],
)
def test_an_empty_log_is_explained(obj: api_pb2.Object, asked: api_pb2.LogsRequest, says: str) -> None:
    assert says in why_silent(obj, asked)
