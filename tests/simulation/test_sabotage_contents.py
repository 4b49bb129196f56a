"""Servers that answer with what is not so are found out, whatever they answer wrong: the judges look at contents."""

from __future__ import annotations

from typing import Any

import pytest

from rube.api import GetRequest, GetResponse, Object
from rube.server import events as server_events
from rube.server import read as server_read
from rube.server import service as server_service
from rube.server.backend import Backend
from rube.sim.scenario import Simulation, load_text
from rube.store import Record

SCENARIO = """\
name: sabotage
duration: 40s
cluster:
  nodes: {count: 2}
workload:
  observers: 1
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 4, node: "worker-{i}"}}
    - {at: 5s, every: 3s, times: 5, change: {names: [web-1, web-2]}}
    - {at: 6s, every: 500ms, times: 40, read: {names: [web-1, web-3, web-4]}}
    - {at: 12s, delete: {names: [web-4]}}
faults:
  - {at: 14s, for: 3s, kill: worker-1}
expect:
  - watch_promises
"""


def _violated(seed: int = 1) -> set[str]:
    with Simulation(load_text(SCENARIO, "s.yaml"), seed=seed) as simulation:
        result = simulation.run()
    for verdict in result.verdicts:
        assert verdict.passed or verdict.offending, "a violation shows what offends"
    return {verdict.check for verdict in result.verdicts if not verdict.passed}


def _corrupted(obj: Object) -> Object:
    """Another spec of the same type, which parses."""
    changed = Object()
    changed.CopyFrom(obj)
    changed.spec.value += b"\x0a\x01x"  # the description, once more
    return changed


def test_the_shipped_code_holds() -> None:
    assert _violated() == set()


def test_reads_with_an_old_version(monkeypatch: pytest.MonkeyPatch) -> None:
    get = server_service.get
    first: dict[str, Object] = {}

    async def old(backend: Backend, request: GetRequest) -> GetResponse:
        answer = GetResponse.FromString((await get(backend, request)).data)
        answer.object.CopyFrom(first.setdefault(request.key.name, answer.object))
        return answer

    monkeypatch.setattr(server_service, "get", old)
    assert _violated() == {"reads"}


def test_reads_with_a_deleted_object(monkeypatch: pytest.MonkeyPatch) -> None:
    get = server_service.get
    last: dict[str, GetResponse] = {}

    async def undead(backend: Backend, request: GetRequest) -> GetResponse:
        try:
            answer = GetResponse.FromString((await get(backend, request)).data)
            last[request.key.name] = answer
        except server_read.NotFoundError as error:
            if request.key.name not in last:
                raise
            answer = last[request.key.name]
            answer.revision = int(error.metadata["revision"])
        return answer

    monkeypatch.setattr(server_service, "get", undead)
    assert _violated() == {"reads"}


def test_a_corrupted_spec_in_every_read_and_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    def corrupt(record: Record) -> Record:
        if not record.key.startswith(b"api.systemd.Unit/"):
            return record
        corrupted = _corrupted(Object.FromString(record.value))
        return record._replace(value=corrupted.SerializeToString(deterministic=True))

    for module, name in ((server_read, "get_object"), (server_read, "list_item"), (server_events, "update_event")):
        encode = getattr(module, name)
        monkeypatch.setattr(module, name, lambda record, encode=encode: encode(corrupt(record)))
    assert {"reads", "watch_promises"} <= _violated()


def test_events_with_the_new_revision_and_the_old_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    update_event = server_events.update_event
    specs: dict[bytes, Any] = {}

    def stale(record: Record) -> bytes:
        obj = Object.FromString(record.value)
        obj.spec.CopyFrom(specs.setdefault(record.key, obj.spec))
        return update_event(record._replace(value=obj.SerializeToString(deterministic=True)))

    monkeypatch.setattr(server_events, "update_event", stale)
    assert "watch_promises" in _violated()
