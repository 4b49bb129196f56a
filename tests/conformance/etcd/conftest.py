"""Runs every coroutine test of this folder on a real etcd and on the simulated one: the same bodies."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.etcd.etcd_client import EtcdClient
from tests.conformance.etcd.etcd_sites import RealEtcdSite, SimulatedSite, Site, WorldSite, has_etcd

SITES: dict[str, Callable[[Path], Site]] = {
    "etcd": RealEtcdSite,
    "simulated": lambda _: SimulatedSite(),
    "simulated-in-a-world": lambda _: WorldSite(),
}


@pytest.fixture(params=sorted(SITES))
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    if request.param == "etcd" and not has_etcd():
        pytest.skip("needs the program etcd: apt-get install etcd-server")
    return SITES[request.param](tmp_path)


@pytest.fixture
def client(site: Site) -> Site:
    """Stands for the client that the test's body is given: its site runs the body with it."""
    return site


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def body(client: EtcdClient) -> Any:
        await client.ready()
        await pyfuncitem.obj(**{**arguments, "client": client})

    client: Any = pyfuncitem.funcargs["client"]
    client.run(body)
    return True
