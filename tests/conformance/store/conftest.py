"""The stores and engines of the suites: each test runs on all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.store.all_sites import ENGINE_SITES, SITES
from tests.conformance.store.store_sites import EngineSite, Site


@pytest.fixture(params=sorted(SITES))
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return SITES[request.param](tmp_path)


@pytest.fixture(params=sorted(ENGINE_SITES))
def engine_site(request: pytest.FixtureRequest, tmp_path: Path) -> EngineSite:
    return ENGINE_SITES[request.param](tmp_path)
