"""The servers of the suite: each test runs on real gRPC servers and on the simulated network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.api.api_sites import GrpcSite, SimSite, Site

# What a relay answers by itself, and the form of what it hands on. The writes themselves are the apiserver's.
_RELAYED = (
    *("reads", "lists", "watch", "every_type", "informer", "past", "conditions"),
    *("requests", "renewals", "sent", "sizes", "types", "server"),
)
# Tests whose bodies reach into the apiserver: they stop it, replace a part of it, or let its store forget what a relay
# still has. One waits for no watch, by which a relay learns types.
_OF_THE_APISERVER = frozenset(
    {
        "test_a_compacted_position_is_listed_again_and_nothing_is_skipped",
        "test_a_compacted_revision_tells_the_oldest",
        "test_a_list_begins_anew_when_its_revision_is_forgotten",
        "test_a_list_of_a_page_token_of_the_callers_own_cannot_begin_anew",
        "test_a_list_that_is_always_too_slow_ends_with_the_remedy",
        "test_a_page_of_a_compacted_revision_says_so",
        "test_a_stopping_server_ends_watches_at_once",
        "test_a_timeout_of_the_store_is_not_told_as_a_stop",
        "test_a_watch_with_a_selector_that_matches_nothing_gives_signs_of_life",
        "test_after_a_stop_nobody_answers",
        "test_an_informer_of_an_unknown_type_waits_until_the_server_knows_it",
        "test_an_informer_outlives_its_server_and_skips_nothing",
        "test_reflection_describes_a_pushed_type_to_foreign_clients",
        "test_the_past_that_the_store_has_forgotten_is_out_of_range",
    }
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "site" not in metafunc.fixturenames:
        return
    sites = ["grpcio", "h2corn", "simulated"]
    module = metafunc.module.__name__.rpartition("test_api_")[2]
    if module in _RELAYED and metafunc.function.__name__ not in _OF_THE_APISERVER:
        sites.append("relayed")
    metafunc.parametrize("site", sites, indirect=True)


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """grpcio's server over SQLite, h2corn's over memory, the simulated one over its disk, alone or behind a relay."""
    match request.param:
        case "grpcio":
            return GrpcSite("grpcio", f"sqlite:///{tmp_path}/rube.db")
        case "h2corn":
            return GrpcSite("h2corn", "memory:")
        case name:
            return SimSite(relayed=name == "relayed")
