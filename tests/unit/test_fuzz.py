"""A short run of the campaign of damaged inputs (tests/fuzz.py)."""

from __future__ import annotations

import pytest

from tests.fuzz import Defect, Reader, Server, campaign, readers

INPUTS = 1_500
NAMES = ("text", "selectors", "tokens", "requests", "json", "packed", "backups", "peers")


@pytest.mark.parametrize("name", NAMES)
def test_damaged_input_ends_with_the_errors_that_its_reader_promises(name: str) -> None:
    server = Server()
    try:
        found = readers(server)
        assert tuple(found) == NAMES
        campaign(found[name], INPUTS, seed=7)
    finally:
        server.close()


def test_a_reader_that_raises_another_error_is_found_out() -> None:
    with pytest.raises(Defect, match="input 0 of seed 7"):
        campaign(Reader(lambda _: 1 // 0, [b"x"], (ValueError,)), 10, seed=7)
