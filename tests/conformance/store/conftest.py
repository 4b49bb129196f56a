"""Runs every coroutine test of this folder on every site: one suite, all stores; or all engines."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.store.all_sites import ENGINE_SITES, SITES
from tests.conformance.store.store_sites import EngineSite, Site


@pytest.fixture(params=sorted(SITES))
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return SITES[request.param](tmp_path)


@pytest.fixture(params=sorted(ENGINE_SITES))
def engine_site(request: pytest.FixtureRequest, tmp_path: Path) -> EngineSite:
    return ENGINE_SITES[request.param](tmp_path)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    where: Any = pyfuncitem.funcargs.get("site") or pyfuncitem.funcargs["engine_site"]
    where.run(lambda: pyfuncitem.obj(**arguments))
    return True
