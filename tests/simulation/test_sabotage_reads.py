"""Servers whose gets and lists answer wrongly, in any way, are found out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from rube.api import GetRequest, GetResponse, ListRequest, ListResponse
from rube.server import filters as server_filters
from rube.server import object_index, selection, service
from rube.server import read as server_read
from rube.sim.cluster.recording import RecordingStore
from rube.store import Lookup, Page
from rube.transport import Encoded
from tests.simulation.sabotage import violated

SCENARIO = """\
name: sabotage
duration: 32s
cluster:
  nodes: {count: 2}
workload:
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 4, node: "worker-{i}"}}
    - {at: 2s, put: {name: "web-{i}", count: 2, namespace: other, node: "worker-{i}"}}
    - {at: 3s, every: 400ms, times: 50, list: {labels: "node in (worker-1,other)", page_size: 1}}
    - {at: 3s, every: 400ms, times: 50, list: {not_older: true, page_size: 2}}
    - {at: 3s, every: 400ms, times: 50, list: {name: web-2}}
    - {at: 3s, every: 400ms, times: 50, read: {names: [web-1, web-4], not_older: true}}
    - {at: 5s, every: 700ms, times: 20, change: {names: [web-2, web-3]}}
    - {at: 12s, delete: {names: [web-4]}}
expect:
  - never_on_two_nodes
"""


def test_the_shipped_code_holds() -> None:
    assert violated(SCENARIO) == set()


def _after_list(monkeypatch: pytest.MonkeyPatch, change: Callable[[ListRequest, ListResponse], None]) -> None:
    list_objects = service.list_objects

    async def wrong(backend: Any, selection: Any, request: ListRequest, *more: Any) -> ListResponse:
        response = ListResponse.FromString((await list_objects(backend, selection, request, *more)).data)
        if request.type == "api.systemd.Unit":
            change(request, response)
        return response

    monkeypatch.setattr(service, "list_objects", wrong)


def _loses_the_last(request: ListRequest, response: ListResponse) -> None:
    if len(response.items) > 1:
        del response.items[-1]


def _tells_twice(request: ListRequest, response: ListResponse) -> None:
    response.items.extend(list(response.items[:1]))


def _turns_round(request: ListRequest, response: ListResponse) -> None:
    items = list(response.items)
    del response.items[:]
    response.items.extend(reversed(items))


def _ends_early(request: ListRequest, response: ListResponse) -> None:
    response.next_page_token = ""


def _another_revision_for_each_page(request: ListRequest, response: ListResponse) -> None:
    response.revision += bool(request.page_token)


def _drops_the_status(request: ListRequest, response: ListResponse) -> None:
    for item in response.items:
        item.ClearField("status")


def _drops_the_labels(request: ListRequest, response: ListResponse) -> None:
    for item in response.items:
        item.metadata.labels.clear()


def _another_uid(request: ListRequest, response: ListResponse) -> None:
    for item in response.items:
        item.metadata.uid = "another"


def _another_revision(request: ListRequest, response: ListResponse) -> None:
    for item in response.items:
        item.metadata.revision -= 1


def _another_create_revision(request: ListRequest, response: ListResponse) -> None:
    for item in response.items:
        item.metadata.create_revision += 1


def _from_the_future(request: ListRequest, response: ListResponse) -> None:
    response.revision += 10_000


@pytest.mark.parametrize(
    "change",
    [
        _loses_the_last,
        _tells_twice,
        _turns_round,
        _ends_early,
        _another_revision_for_each_page,
        _drops_the_status,
        _drops_the_labels,
        _another_uid,
        _another_revision,
        _another_create_revision,
        _from_the_future,
    ],
)
def test_a_list_that_is_wrong(
    change: Callable[[ListRequest, ListResponse], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    _after_list(monkeypatch, change)
    assert "reads" in violated(SCENARIO)


def test_answers_of_another_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecordingStore, "store_id", property(lambda self: "another"))
    assert "revisions_monotonic" in violated(SCENARIO)


def test_pages_of_different_revisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page shows the newest objects and says that it is of the first one's revision."""
    read = RecordingStore.range

    async def newest(self: RecordingStore, start: bytes, end: bytes | None, *, revision: int = 0, **more: Any) -> Page:
        page = await read(self, start, end, **more)
        return page._replace(revision=revision or page.revision)

    text = SCENARIO.replace("nodes: {count: 2}", "nodes: {count: 2}\n  network: {latency: 100ms}")
    assert violated(text) == set()
    monkeypatch.setattr(RecordingStore, "range", newest)
    assert "reads" in violated(text)


@pytest.mark.parametrize("part", ["matches", "matches_key"])
def test_filters_that_are_not_looked_at(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_filters.ObjectFilter, part, lambda self, obj: True)
    monkeypatch.setattr(selection, "required_values", lambda wanted: {})  # the index names no others
    assert "reads" in violated(SCENARIO)


def test_an_index_that_misses_what_was_put_again(monkeypatch: pytest.MonkeyPatch) -> None:
    move = object_index.Values.move

    def wrong(self: object_index.Values, key: bytes, before: str | None, after: str | None, revision: int) -> None:
        move(self, key, before, None, revision)

    monkeypatch.setattr(object_index.Values, "move", wrong)
    assert "reads" in violated(SCENARIO)


def test_sets_in_selectors_that_match_their_first_value_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge does not share the selectors' code."""
    from rube.api.selectors import Requirement

    monkeypatch.setattr(
        Requirement, "matches", lambda self, labels: bool(self.values) and labels.get(self.key) == self.values[0]
    )
    assert "reads" in violated(SCENARIO.replace("(worker-1,other)", "(worker-1,worker-2)"))


@pytest.mark.parametrize("named", [False, True])
def test_old_reads(named: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of two revisions ago, told as it was then: to all, or, of before N, to those who ask for what is not
    older than N."""
    get = RecordingStore.get

    async def old(
        self: RecordingStore, keys: Sequence[bytes], *, min_revision: int = 0, serializable: bool = False
    ) -> Lookup:
        found = await get(self, keys, min_revision=min_revision, serializable=serializable)
        revision = min_revision - 1 if named else found.revision - 2
        if serializable or revision < 10 or named is not bool(min_revision):
            return found
        pages = [await self.range(key, None, revision=revision) for key in keys]
        return Lookup([page.records[0] if page.records else None for page in pages], revision)

    monkeypatch.setattr(RecordingStore, "get", old)
    assert "reads" in violated(SCENARIO)


def test_not_found_for_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    get = service.get
    times = 0

    async def blind(store: Any, request: GetRequest) -> GetResponse:
        nonlocal times
        answer = GetResponse.FromString((await get(store, request)).data)
        if request.key.name == "web-1" and (times := times + 1) == 5:
            raise server_read.NotFoundError("it is not there", key="web-1", revision=answer.revision)
        return answer

    monkeypatch.setattr(service, "get", blind)
    assert "reads" in violated(SCENARIO)


def test_another_object(monkeypatch: pytest.MonkeyPatch) -> None:
    get = service.get

    async def mixed(store: Any, request: GetRequest) -> Encoded:
        if request.key.name == "web-1":
            request.key.name = "web-3"
        return await get(store, request)

    monkeypatch.setattr(service, "get", mixed)
    assert "reads" in violated(SCENARIO)
