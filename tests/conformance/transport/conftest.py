"""Runs every coroutine test of this folder on every site: one suite, grpcio, pygrpc-native and the simulation."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.transport.transport_sites import RealSite, SimSite, Site


@pytest.fixture(params=["grpcio", "native", "simulated"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """Also "grpcio, uvloop", for tests of what depends on the loop."""
    if request.param == "simulated":
        return SimSite()
    kind, _, loop = request.param.partition(", ")
    return RealSite(kind, tmp_path, pytest.importorskip("uvloop").new_event_loop if loop else None)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    site: Any = pyfuncitem.funcargs["site"]
    site.run(lambda: pyfuncitem.obj(**arguments))
    return True
