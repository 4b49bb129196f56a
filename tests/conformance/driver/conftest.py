"""The machines of the drivers' suite: each test runs on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.conformance.driver.driver_rigs import Run, run_sim, run_supervisor, run_systemd
from tests.real.systemd_manager import SystemdManager, missing


@pytest.fixture(scope="session")
def systemd_manager() -> Iterator[SystemdManager]:
    """A real systemd, started once; skips where there is none to be had."""
    if reason := missing():
        pytest.skip(reason)
    with SystemdManager() as manager:
        yield manager


@pytest.fixture(params=["dbus", "sim", "supervisor"])
def run(request: pytest.FixtureRequest) -> Run:
    """Plays a test's body on one kind of machine."""
    if request.param == "dbus":
        return partial(run_systemd, request.getfixturevalue("systemd_manager"))
    return {"sim": run_sim, "supervisor": run_supervisor}[request.param]
