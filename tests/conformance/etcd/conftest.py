"""The etcds of the suite, real and simulated: each test runs on all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
def client(site: Site) -> None:
    """The name of what the site gives the test on its loop."""
