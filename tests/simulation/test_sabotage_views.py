"""Clients whose copies are not what the store holds are found out by what their controllers see."""

from __future__ import annotations

from typing import Any

import pytest

from rube.api import Event, Object, WatchResponse
from rube.client import object_cache
from rube.client.object_cache import Batch, ObjectCache
from rube.controllers.cache import InformerCache
from tests.simulation.sabotage import SCENARIO, violated

QUIET = SCENARIO.replace("duration: 40s", "duration: 60s")


def test_the_shipped_code_holds() -> None:
    assert violated(QUIET) == set()


def test_a_copy_that_misses_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest change of web-2 is never taken: its node goes on with the one before."""
    prepare = ObjectCache.prepare

    def deaf(self: ObjectCache, response: WatchResponse) -> Batch | None:
        kept = [event for event in response.events if not self._is_late(event)]  # type: ignore[attr-defined]
        heard = WatchResponse(events=kept, revision=response.revision, store_id=response.store_id)
        return prepare(self, heard)

    def is_late(self: ObjectCache, event: Event) -> bool:
        metadata = event.update.metadata
        return metadata.name == "web-2" and metadata.generation > 4

    monkeypatch.setattr(ObjectCache, "_is_late", is_late, raising=False)
    monkeypatch.setattr(ObjectCache, "prepare", deaf)
    assert "views" in violated(QUIET)


def test_a_copy_that_keeps_what_was_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_cache._Overlay, "remove", lambda self, obj: [])
    assert {"views", "copies"} & violated(QUIET)


def test_a_copy_with_another_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    get = InformerCache.get

    def wrong(self: InformerCache, key: Any) -> Object | None:
        obj = get(self, key)
        if obj is None or key.type != "api.systemd.Unit":
            return obj
        changed = Object()
        changed.CopyFrom(obj)
        changed.spec.value += b"\x0a\x01x"
        return changed

    monkeypatch.setattr(InformerCache, "get", wrong)
    assert "views" in violated(QUIET)


def test_a_copy_that_mixes_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest revision with the labels and the spec of the first."""
    prepare = ObjectCache.prepare
    first: dict[str, Object] = {}

    def mixed(self: ObjectCache, response: WatchResponse) -> Batch | None:
        changed = WatchResponse()
        changed.CopyFrom(response)
        for event in changed.events:
            if event.HasField("update"):
                event.update.spec.CopyFrom(first.setdefault(event.update.metadata.uid, event.update).spec)
        return prepare(self, changed)

    monkeypatch.setattr(ObjectCache, "prepare", mixed)
    assert "views" in violated(QUIET)
