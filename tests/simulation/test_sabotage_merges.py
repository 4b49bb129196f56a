"""Patches and applies of a controller are judged: as they are, and broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rube.api import ApplyRequest, ApplyResponse, PatchRequest, PatchResponse
from rube.server import service as server_service
from rube.server.backend import Backend
from tests.simulation.sabotage import violated

SCENARIO = """\
name: twins
duration: 50s
cluster:
  nodes: {count: 2}
  controllers: ["tests.simulation.twins:Twins"]
workload:
  observers: 1
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 3, node: "worker-{i}"}}
    - {at: 5s, every: 3s, times: 5, change: {names: [web-1, web-2]}}
faults:
  - {at: 14s, for: 3s, kill: api-1}
  - {at: 15s, for: 2s, isolate: observer-1}
expect:
  - watch_promises
"""


def test_a_controller_that_patches_and_applies_is_judged_and_holds() -> None:
    assert violated(SCENARIO) == set()


def _drop_a_label(request: ApplyRequest) -> None:
    del request.objects[0].metadata.labels["twin"]


def _another_description(request: ApplyRequest) -> None:
    request.objects[0].spec.value += b"\x0a\x01x"  # the description, once more


@pytest.mark.parametrize("change", [_drop_a_label, _another_description])
def test_an_apply_of_something_else(monkeypatch: pytest.MonkeyPatch, change: Callable[[ApplyRequest], None]) -> None:
    apply: Any = getattr(server_service, "apply")  # noqa: B009 (it is not exported)

    async def wrong(backend: Backend, request: ApplyRequest) -> ApplyResponse:
        changed = ApplyRequest()
        changed.CopyFrom(request)
        change(changed)
        done: ApplyResponse = await apply(backend, changed)
        return done

    monkeypatch.setattr(server_service, "apply", wrong)
    assert violated(SCENARIO) & {"contents", "acknowledged_writes"}


def test_a_patch_of_more_than_its_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    patch: Any = getattr(server_service, "patch")  # noqa: B009 (it is not exported)

    async def wrong(backend: Backend, request: PatchRequest) -> PatchResponse:
        changed = PatchRequest()
        changed.CopyFrom(request)
        changed.update_mask.paths.append("spec.description")
        done: PatchResponse = await patch(backend, changed)
        return done

    monkeypatch.setattr(server_service, "patch", wrong)
    assert violated(SCENARIO) & {"contents", "acknowledged_writes"}


@pytest.mark.parametrize("name", ["patch", "apply"])
def test_a_merge_that_is_answered_and_not_done(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    done: Any = getattr(server_service, name)
    count = 0

    async def forget(backend: Backend, request: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            changed = type(request)()
            changed.CopyFrom(request)
            changed.validate_only = True
            return await done(backend, changed)
        return await done(backend, request)

    monkeypatch.setattr(server_service, name, forget)
    assert violated(SCENARIO)
