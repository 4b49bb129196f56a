"""The networks of the suite: each test runs on grpcio, h2corn and the simulation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.transport.transport_sites import RealSite, SimSite, Site


@pytest.fixture(params=["grpcio", "h2corn", "simulated"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """The sites; tests of what depends on the loop ask for "grpcio, uvloop", too."""
    if request.param == "simulated":
        return SimSite()
    kind, _, loop = request.param.partition(", ")
    return RealSite(kind, tmp_path, pytest.importorskip("uvloop").new_event_loop if loop else None)
