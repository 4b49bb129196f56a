"""Sabotages of memories: a client's place and answers, a process's owner, a controller's decisions."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from rube.api import Metadata, Object, UnitObservation, UnitStatus, WatchRequest, Written
from rube.api.keys import ObjectKey
from rube.client import Change, Informer
from rube.controllers.outbox import Outbox
from rube.units.controller import UnitController
from tests.simulation.sabotage import SCENARIO, violated

TEXT = SCENARIO.replace(
    "faults:\n",
    "    - {at: 15200ms, delete: {names: [web-3]}}\n"
    '    - {at: 15500ms, put: {name: "web-3", node: worker-1}}\n'
    "faults:\n"
    "  - {at: 4500ms, for: 2s, fail_actions: worker-1}\n"
    "  - {at: 15050ms, reset: {from: [observer-1]}}\n",
)
"""Away are an observer and a rubelet while a unit is put anew under its name, and while actions fail one is changed."""


def test_the_shipped_code_holds() -> None:
    assert violated(TEXT) == set()


def test_an_informer_that_resumes_in_any_store(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = Informer._request

    def request(self: Informer) -> WatchRequest:
        asked = shipped(self)
        asked.ClearField("store_id")
        return asked

    monkeypatch.setattr(Informer, "_request", request)
    assert violated(TEXT) == {"positions"}


def test_an_informer_that_tells_of_a_change_what_was_before_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    def put(self: object, key: ObjectKey, obj: Object) -> Change:
        base = self._base  # type: ignore[attr-defined]
        return Change(key, base.get(key), obj, obj.metadata.revision)

    monkeypatch.setattr("rube.client.object_cache._Overlay.put", put)
    assert violated(TEXT) == {"followers"}


def test_a_unit_that_goes_on_for_the_next_object_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = UnitController._run

    def run(self: UnitController, state, spec, observed: UnitObservation, memory):  # type: ignore[no-untyped-def]
        seen = UnitObservation()
        seen.CopyFrom(observed)
        seen.uid = state.object.metadata.uid
        return shipped(self, state, spec, seen, memory)

    monkeypatch.setattr(UnitController, "_run", run)
    assert "owners" in violated(TEXT)


def test_an_outbox_that_forgets_with_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = Outbox.call_done

    async def call_done(self: Outbox, key: ObjectKey, written: Iterable[Written]) -> None:
        await shipped(self, key, written)
        entry = self.get(key)
        entry.left.ClearField("memory")
        await self._commit(key, entry)

    monkeypatch.setattr(Outbox, "call_done", call_done)
    assert "memories" in violated(TEXT)


def test_a_node_that_reports_what_it_is_about_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = UnitController._status

    def status(self: UnitController, metadata: Metadata, observed: UnitObservation, invalid: str) -> UnitStatus:
        told = shipped(self, metadata, observed, invalid)
        told.observed_generation = metadata.generation
        return told

    monkeypatch.setattr(UnitController, "_status", status)
    assert "generations" in violated(TEXT)
