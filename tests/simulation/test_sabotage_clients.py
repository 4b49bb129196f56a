"""A client that repeats what may have been done is found out."""

from __future__ import annotations

from typing import Any

import pytest

from rube.api import PutRequest, PutResponse
from rube.api.errors import UnavailableError
from rube.client import client
from rube.client.retries import is_unknown
from rube.server.service import ApiService
from tests.simulation.sabotage import SCENARIO, violated

EDITS = "  steps:\n    - {at: 5s, every: 700ms, times: 30, edit: {names: [web-1, web-3], unconditional: true}}\n"
TEXT = SCENARIO.replace("  steps:\n", EDITS)


@pytest.fixture(autouse=True)
def _answers_that_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fifth put is done, and its client told that it may have been."""
    put = ApiService.Put
    puts = 0

    async def told_otherwise(self: ApiService, request: PutRequest, context: Any) -> PutResponse:
        nonlocal puts
        response = await put(self, request, context)
        puts += 1
        if puts % 5 == 0:
            raise UnavailableError("the answer was lost")
        return response

    monkeypatch.setattr(ApiService, "Put", told_otherwise)


def test_the_shipped_code_holds() -> None:
    assert violated(TEXT) == set()


def test_a_put_without_a_condition_that_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "may_repeat", lambda request, error: is_unknown(error))
    assert "clients" in violated(TEXT)
