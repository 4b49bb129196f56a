"""Runs every coroutine test of this folder on every site: one suite, all adapters."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from store_sites import MemorySite, SimSite, Site, SqliteSite


@pytest.fixture(params=["memory", "sqlite", "simulated"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    if request.param == "sqlite":
        return SqliteSite(tmp_path)
    return MemorySite() if request.param == "memory" else SimSite()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    pyfuncitem.funcargs["site"].run(lambda: pyfuncitem.obj(**arguments))
    return True
