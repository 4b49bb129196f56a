"""The promises of `request_id`: a repeated write gets the first answer, and is not carried out again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from rube.api import (
    ApplyRequest,
    DeleteRequest,
    GetRequest,
    PatchRequest,
    Precondition,
    PutRequest,
    UnitStatus,
    UpdateLifecycleRequest,
    UpdateStatusRequest,
)
from rube.api.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from rube.api.types import pack
from rube.client import Client
from rube.server import ApiServer, ApiServerConfig
from rube.server.first_answers import forget_periodically
from rube.store import Op, Store, StoreConfig, StoreLimits, Txn
from tests.conformance.api.api_sites import Served, Site, key, serve, unit
from tests.conformance.api.test_api_sent import breaking_commits

WRITES: dict[str, Callable[[], Any]] = {
    "put": lambda: PutRequest(objects=[unit("a", "new"), unit("same"), unit("b")]),
    "put of the same": lambda: PutRequest(objects=[unit("same")]),
    "patch": lambda: PatchRequest(object=unit("a", "new"), update_mask=FieldMask(paths=["spec.description"])),
    "apply": lambda: ApplyRequest(objects=[unit("a", "new"), unit("b")], owner="me", force=True),
    "delete": lambda: DeleteRequest(keys=[key("a"), key("held")]),
    "update_status": lambda: UpdateStatusRequest(key=key("a"), status=pack(UnitStatus(active_state="active"))),
    "update_lifecycle": lambda: UpdateLifecycleRequest(key=key("a"), add_finalizers=["example.com/y"]),
}


def method(client: Client, request: Any) -> Callable[[Any], Awaitable[Any]]:
    names = {"PutRequest": "put", "PatchRequest": "patch", "ApplyRequest": "apply", "DeleteRequest": "delete"}
    names |= {"UpdateStatusRequest": "update_status", "UpdateLifecycleRequest": "update_lifecycle"}
    found: Callable[[Any], Awaitable[Any]] = getattr(client, names[request.DESCRIPTOR.name])
    return found


async def prepare(api: Served) -> None:
    await api.put(unit("a", "old"), unit("same"), unit("held", finalizers=["example.com/x"]))


async def records(store: Store) -> int:
    """The number of answers that are remembered."""
    return len((await store.range(b"!request/", b"!request0")).records)


@pytest.mark.parametrize("write", WRITES)
async def test_a_repeated_write_gets_the_first_answer_and_is_not_carried_out_again(site: Site, write: str) -> None:
    async with serve(site) as api:
        await prepare(api)
        request = WRITES[write]()
        request.request_id = "first"
        first = await method(api.client, request)(request)
        assert first.revision == api.store.revision
        await api.put(unit("a", "of another client"), unit("same", "of another client"), unit("b", "theirs"))
        after = api.store.revision
        assert await method(api.client, request)(request) == first
        assert api.store.revision == after
        assert (await api.client.get(GetRequest(key=key("same")))).object.metadata.generation == 2


@pytest.mark.parametrize("write", WRITES)
async def test_the_answer_is_what_it_is_without_an_id(site: Site, write: str) -> None:
    async with serve(site) as api:
        await prepare(api)
        request = WRITES[write]()
        request.request_id = "first"
        first = await method(api.client, request)(request)
        for metadata in getattr(first, "metadata", []) if write in ("put", "apply", "put of the same") else []:
            assert metadata == (await api.get(metadata.name)).metadata
        if write == "patch":
            assert first.object == await api.get("a")
        if write in ("update_status", "update_lifecycle"):
            assert first.metadata == (await api.get("a")).metadata
        if write == "delete":
            assert [deletion.gone for deletion in first.deletions] == [True, False]


async def test_another_server_of_the_store_gives_the_first_answer(site: Site) -> None:
    async with serve(site) as api:
        request = PutRequest(objects=[unit("a")], preconditions=[Precondition(absent=True)], request_id="first")
        first = await api.client.put(request)
        other = ApiServer(site.host, api.store, ApiServerConfig(listen=("127.0.0.1:0",)))
        async with Client(site.host, [(await other.start())[0]]) as client:
            assert await client.put(request) == first
        await other.stop(1.0)


async def test_a_restarted_server_gives_the_first_answer(site: Site) -> None:
    if site.store_url == "memory:":
        pytest.skip("memory forgets with its server")
    request = DeleteRequest(keys=[key("a")], request_id="first")
    async with serve(site) as api:
        await api.put(unit("a"))
        first = await api.client.delete(request)
    async with serve(site) as api:
        assert await api.client.delete(request) == first
        with pytest.raises(NotFoundError):
            await api.delete("a")


async def test_an_id_of_another_request_is_an_error(site: Site) -> None:
    async with serve(site) as api:
        first = await api.client.put(PutRequest(objects=[unit("a")], request_id="first"))
        for other in (
            PutRequest(objects=[unit("a", "other")], request_id="first"),
            DeleteRequest(keys=[key("a")], request_id="first"),
        ):
            with pytest.raises(AlreadyExistsError, match="'first' is that of another request") as raised:
                await method(api.client, other)(other)
            assert raised.value.metadata["revision"] == str(first.revision)
        assert api.store.revision == first.revision
        for bad in ("two words", "ümlaut", "a\nb", "x" * 129):
            with pytest.raises(InvalidArgumentError, match="request_id"):
                await api.client.put(PutRequest(objects=[unit("a")], request_id=bad))


async def test_of_many_attempts_at_once_one_is_carried_out(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        request = DeleteRequest(keys=[key("a")], request_id="first")
        answers = await asyncio.gather(*(api.client.delete(request) for _ in range(10)))
        assert all(answer == answers[0] for answer in answers)
        one, other = (PutRequest(objects=[unit(name)], request_id="second") for name in ("x", "y"))
        results = await asyncio.gather(api.client.put(one), api.client.put(other), return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["AlreadyExistsError", "PutResponse"]


async def test_a_commit_whose_answer_was_lost_is_answered_once_it_is_found(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        request = DeleteRequest(keys=[key("a")], request_id="first")
        with breaking_commits(api, UnavailableError("the answer is lost")) as made:
            found = await api.client.delete(request)
            assert len(made) == 1
        assert found.deletions[0].gone
        assert found.revision == api.store.revision


async def test_a_write_that_failed_is_carried_out_by_its_repetition(site: Site) -> None:
    async with serve(site) as api:
        request = DeleteRequest(keys=[key("a")], request_id="first")
        with pytest.raises(NotFoundError):
            await api.client.delete(request)
        assert await records(api.store) == 0
        await api.put(unit("a"))
        assert (await api.client.delete(request)).deletions[0].gone


async def test_validate_only_leaves_an_id_free(site: Site) -> None:
    async with serve(site) as api:
        await api.client.put(PutRequest(objects=[unit("a")], request_id="first", validate_only=True))
        assert await records(api.store) == 0
        assert (await api.client.put(PutRequest(objects=[unit("b")], request_id="first"))).metadata[0].name == "b"


async def test_answers_are_in_no_list_and_no_watch(site: Site) -> None:
    async with serve(site) as api:
        await api.client.put(PutRequest(objects=[unit("a")], request_id="first"))
        async with api.watch(type="*", send_initial=True) as watched:
            assert await watched.lines(2) == ["update a", "bookmark end"]
            await api.client.put(PutRequest(objects=[unit("b")], request_id="second"))
            assert await watched.change() == "update b"
            await api.put(unit("c"))
            assert await watched.change() == "update c"


async def test_an_answer_that_is_too_large_to_remember_is_refused(site: Site) -> None:
    limits = StoreLimits(txn_ops_max=9, value_bytes_max=4_000, txn_bytes_max=40_000)
    async with serve(site, store=StoreConfig(limits=limits)) as api:
        objects = [unit(f"a{number}", annotations={"text": "x" * 1_000}) for number in range(5)]
        with pytest.raises(ResourceExhaustedError, match=r"the answer of request 'first' has .* leave request_id out"):
            await api.client.put(PutRequest(objects=objects, request_id="first"))
        await api.client.put(PutRequest(objects=objects))


async def test_records_of_a_restored_store_answer_nothing(site: Site) -> None:
    async with serve(site) as api:
        await api.client.put(PutRequest(objects=[unit("a")], request_id="first"))
        (record,) = (await api.store.range(b"!request/", b"!request0")).records
        restored = Op(record.key, b"0" * 32 + record.value[32:])
        await api.store.commit(Txn((restored,)))
        answer = await api.client.put(PutRequest(objects=[unit("a", "new")], request_id="first"))
        assert answer.metadata[0].generation == 2


class StepClock:
    """A clock whose sleeps end at once, with their time passed."""

    def __init__(self, steps: int) -> None:
        self._now_ns = 0
        self._left = steps

    def monotonic_ns(self) -> int:
        return self._now_ns

    async def sleep(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1_000_000_000)
        self._left -= 1
        if self._left < 0:
            raise asyncio.CancelledError


async def sweeps(store: Store, count: int, **bounds: Any) -> None:
    with pytest.raises(asyncio.CancelledError):
        await forget_periodically(StepClock(count), store, interval_s=60, **bounds)  # type: ignore[arg-type]


async def test_answers_are_forgotten_by_age_and_by_number(site: Site) -> None:
    async with serve(site) as api:
        for number in range(5):
            await api.client.put(PutRequest(objects=[unit("a", str(number))], request_id=f"r{number}"))
        await sweeps(api.store, 9, retention_s=600)
        assert await records(api.store) == 5, "ten minutes have not passed"
        await sweeps(api.store, 3, records_max=2)
        assert [record.key for record in (await api.store.range(b"!request/", b"!request0")).records] == [
            b"!request/r3",
            b"!request/r4",
        ]
        await sweeps(api.store, 11, retention_s=600)
        assert await records(api.store) == 0
        after = api.store.revision
        await sweeps(api.store, 20)
        assert api.store.revision == after, "nothing is written where nothing is old"
