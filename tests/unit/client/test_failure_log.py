"""A failure that comes again and again is logged once, and its end too."""

from __future__ import annotations

import logging

import pytest

from rube.client import FailureLog


def test_a_failure_is_told_when_it_is_new_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("rube.test")
    failures = FailureLog(log, "watch of api.Node")
    with caplog.at_level(logging.INFO, log.name):
        failures.works()
        for _ in range(3):
            failures.failed("refused")
        failures.failed("no answer", then="listing again")
        failures.works()
        failures.works()
        failures.failed("refused")
    assert caplog.messages == [
        "watch of api.Node: refused; trying again",
        "watch of api.Node: no answer; listing again",
        "watch of api.Node: works again",
        "watch of api.Node: refused; trying again",
    ]
