"""Errors that no code expects are found out, although the call is answered and the daemon started again."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from rube.api import GetRequest, ListRequest
from rube.api.errors import DataLossError
from rube.server import service
from rube.sim.cluster.daemons import ApiserverProgram
from rube.sim.scenario import Simulation, load_text
from rube.transport import Encoded
from tests.simulation.sabotage import SCENARIO, violated


def test_an_exception_in_a_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    list_objects = service.list_objects
    calls = 0

    async def wrong(backend: Any, selection: Any, request: ListRequest, *more: Any) -> Encoded:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyError("leader")
        return await list_objects(backend, selection, request, *more)

    monkeypatch.setattr(service, "list_objects", wrong)
    steps = "  steps:\n    - {at: 5s, every: 1s, times: 5, list: {page_size: 1}}\n"
    with Simulation(load_text(SCENARIO.replace("  steps:\n", steps), "s.yaml")) as simulation:
        result = simulation.run()
    (verdict,) = [verdict for verdict in result.verdicts if not verdict.passed]
    assert verdict.check == "defects"
    assert "api-1 logged KeyError: 'leader', rube.transport: " in verdict.offending[0]


def test_a_daemon_that_ends_though_its_disk_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    run_controllers = ApiserverProgram._run_controllers
    lives = 0

    async def ends(self: ApiserverProgram) -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            await self._ports.clock.sleep(8)
            raise DataLossError("the states of two members differ")
        await run_controllers(self)

    monkeypatch.setattr(ApiserverProgram, "_run_controllers", ends)
    assert violated() == {"defects"}


def test_a_daemon_that_ends_with_its_disk() -> None:
    fails = "faults:\n  - {at: 13s, disk: {host: api-1, kind: fail_sync}}\n"
    assert violated(SCENARIO.replace("faults:\n", fails)) == set()


def test_errors_of_rube_that_are_logged_with_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    run_controllers = ApiserverProgram._run_controllers

    async def logs(self: ApiserverProgram) -> None:
        await self._ports.clock.sleep(1)
        group = ExceptionGroup("both", [DataLossError("expected")])
        logging.getLogger("rube.test").error("one that is known", exc_info=group)
        await run_controllers(self)

    monkeypatch.setattr(ApiserverProgram, "_run_controllers", logs)
    assert violated() == set()


def test_an_answer_that_data_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    read_object = service.get

    async def lost(store: Any, request: GetRequest) -> Encoded:
        if request.key.name == "web-3":
            raise DataLossError("the value of web-3 is damaged")
        return await read_object(store, request)

    monkeypatch.setattr(service, "get", lost)
    assert violated() == {"defects"}
