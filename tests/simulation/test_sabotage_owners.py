"""Garbage collectors that are wrong on purpose, and the judge that finds them."""

from __future__ import annotations

from typing import Any

import pytest

from rube.api import Decision, DeleteRequest, Object, State
from rube.controllers.cluster import garbage
from rube.controllers.cluster.garbage import GarbageCollector
from tests.simulation.sabotage import violated

SCENARIO = """\
name: owners
duration: 75s
cluster:
  nodes: {count: 1}
workload:
  steps:
    - {at: 1s, put: {name: "app-{i}", count: 4}}
    - {at: 2s, put: {name: "a-{i}", count: 2, owners: [app-1]}}
    - {at: 2s, put: {name: "b-{i}", count: 2, owners: [app-2], finalizers: [example/close]}}
    - {at: 2s, put: {name: "c-{i}", count: 2, owners: [app-3]}}
    - {at: 2s, put: {name: "d-{i}", count: 2, owners: [app-1, app-4]}}
    - {at: 2s, make_namespace: shop}
    - {at: 3s, put: {name: "e-{i}", count: 2, namespace: shop, finalizers: [example/close]}}
    - {at: 8s, delete: {names: [app-1]}}
    - {at: 8s, delete: {names: [app-2], propagation: foreground}}
    - {at: 8s, delete: {names: [app-3], propagation: orphan}}
    - {at: 8s, delete_namespace: shop}
    - {at: 20s, release: {names: [b-1, b-2]}}
    - {at: 20s, release: {names: [e-1, e-2], namespace: shop}}
expect:
  - converged: {within: 30s}
"""


def test_the_collector_as_it_is_passes() -> None:
    assert not violated(SCENARIO)


def test_an_object_with_a_living_owner_that_is_deleted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def collect(self: GarbageCollector, decision: Decision, state: State, related: Any) -> None:
        if len(related) < len(state.object.metadata.owner_references):
            garbage._delete(decision, state, [], DeleteRequest.BACKGROUND)

    monkeypatch.setattr(GarbageCollector, "_collect", collect)
    assert "orphans" in violated(SCENARIO)


def test_what_nothing_owns_and_stays_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GarbageCollector, "_collect", lambda *_: None)
    assert "orphans" in violated(SCENARIO)


@pytest.mark.parametrize("impatient", ["foreground-deletion", "orphan", "namespace-contents"])
def test_a_deletion_that_does_not_wait_is_found(impatient: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = garbage._left

    def left(finalizer: str, obj: Object, related: Any) -> list[Object]:
        return [] if finalizer == impatient else patient(finalizer, obj, related)

    monkeypatch.setattr(garbage, "_left", left)
    assert "orphans" in violated(SCENARIO)
