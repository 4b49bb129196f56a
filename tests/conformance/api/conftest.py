"""Runs every coroutine test of this folder on every site: real gRPC servers and the simulated network."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.api.api_sites import GrpcSite, SimSite, Site


@pytest.fixture(params=["grpcio", "native", "simulated"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """grpcio's server over SQLite, pygrpc-native's over memory, the simulated one over a simulated disk."""
    if request.param == "grpcio":
        return GrpcSite("grpcio", f"sqlite:///{tmp_path}/rube.db")
    return GrpcSite("native", "memory:") if request.param == "native" else SimSite()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    site: Any = pyfuncitem.funcargs["site"]
    site.run(lambda: pyfuncitem.obj(**arguments))
    return True
