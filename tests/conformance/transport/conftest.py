"""Runs every coroutine test of this folder on every site: one suite, grpcio, pygrpc-native and the simulation."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from transport_sites import RealSite, SimSite, Site


@pytest.fixture(params=["grpcio", "native", "simulated"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    if request.param == "simulated":
        return SimSite()
    return RealSite(request.param, tmp_path)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    pyfuncitem.funcargs["site"].run(lambda: pyfuncitem.obj(**arguments))
    return True
