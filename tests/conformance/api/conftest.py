"""The servers of the suite: each test runs on real gRPC servers and on the simulated network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.api.api_sites import GrpcSite, SimSite, Site


@pytest.fixture(params=["grpcio", "h2corn", "simulated"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """grpcio's server over SQLite, h2corn's over memory, the simulated one over its disk."""
    if request.param == "grpcio":
        return GrpcSite("grpcio", f"sqlite:///{tmp_path}/rube.db")
    return SimSite() if request.param == "simulated" else GrpcSite(request.param, "memory:")
