"""The promises of renewals: many in one write, each durable, and only the holder's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rube.api import GetRequest, Key, Lease, Metadata, Object, RenewLeaseRequest
from rube.api.errors import (
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    UnavailableError,
)
from rube.api.types import pack
from tests.conformance.api.api_sites import TYPE, Served, Site, key, serve, unit

NAMESPACE = "node-leases"
INTERVAL_S = 0.05


def lease_key(name: str) -> Key:
    return key(name, type="api.Lease", namespace=NAMESPACE)


async def acquire(api: Served, *names: str) -> None:
    lease = Lease(holder="one", session="first", term=3)
    await api.put(*(Object(metadata=Metadata(namespace=NAMESPACE, name=name), spec=pack(lease)) for name in names))


def renewal(name: str, *, seconds: int = 7, **fields: Any) -> RenewLeaseRequest:
    request = RenewLeaseRequest(**{"namespace": NAMESPACE, "name": name, "holder": "one", "session": "first", **fields})
    request.renew_time.FromSeconds(seconds)
    return request


async def stored(api: Served, name: str) -> tuple[Lease, Object]:
    obj = (await api.client.get(GetRequest(key=lease_key(name)))).object
    return Lease.FromString(obj.spec.value), obj


async def test_a_renewal_sets_the_time_and_nothing_else(site: Site) -> None:
    async with serve(site, renewals_interval_s=INTERVAL_S) as api:
        await acquire(api, "n1")
        before, obj = await stored(api, "n1")
        answer = await api.client.renew_lease(renewal("n1"))
        after, renewed = await stored(api, "n1")
        assert after.renew_time.seconds == 7
        after.ClearField("renew_time")
        assert after == before
        assert renewed.metadata.revision == answer.revision > obj.metadata.revision
        assert renewed.metadata.uid == obj.metadata.uid


async def test_renewals_of_one_interval_are_one_revision(site: Site) -> None:
    async with serve(site, renewals_interval_s=0.5) as api:
        names = [f"n{number}" for number in range(20)]
        await acquire(api, *names)
        before = api.store.revision
        answers = await asyncio.gather(*(api.client.renew_lease(renewal(name)) for name in names))
        assert api.store.revision <= before + 3, "a few writes, on a slow machine, instead of twenty"
        for name, answer in zip(names, answers, strict=True):
            lease, obj = await stored(api, name)
            assert (lease.renew_time.seconds, obj.metadata.revision) == (7, answer.revision)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("n1", {"holder": "another"}),
        ("n1", {"session": "second"}),
        ("n1", {"holder": ""}),
        ("absent", {}),
    ],
)
async def test_only_the_holder_renews_and_others_of_the_interval_do(
    site: Site, name: str, other: dict[str, Any]
) -> None:
    async with serve(site, renewals_interval_s=INTERVAL_S) as api:
        await acquire(api, "n1", "n2")
        refused, renewed = await asyncio.gather(
            api.client.renew_lease(renewal(name, **other)),
            api.client.renew_lease(renewal("n2")),
            return_exceptions=True,
        )
        assert isinstance(refused, FailedPreconditionError)
        assert f"api.Lease/{NAMESPACE}/{name}" in refused.message
        assert "acquire it" in refused.message
        assert not isinstance(renewed, BaseException)
        assert (await stored(api, "n1"))[0].renew_time.seconds == 0
        assert (await stored(api, "n2"))[0].renew_time.seconds == 7


async def test_two_renewals_of_one_lease_at_once_both_succeed(site: Site) -> None:
    async with serve(site, renewals_interval_s=INTERVAL_S) as api:
        await acquire(api, "n1")
        await asyncio.gather(
            api.client.renew_lease(renewal("n1", seconds=7)), api.client.renew_lease(renewal("n1", seconds=8))
        )
        assert (await stored(api, "n1"))[0].renew_time.seconds == 8


async def test_a_late_repetition_does_not_set_the_time_back(site: Site) -> None:
    async with serve(site, renewals_interval_s=INTERVAL_S) as api:
        await acquire(api, "n1")
        await api.client.renew_lease(renewal("n1", seconds=9))
        await api.client.renew_lease(renewal("n1", seconds=7))
        assert (await stored(api, "n1"))[0].renew_time.seconds == 9


async def test_a_time_that_is_none_is_refused(site: Site) -> None:
    async with serve(site, renewals_interval_s=INTERVAL_S) as api:
        await acquire(api, "n1")
        missing, wrong = renewal("n1"), renewal("n1")
        missing.ClearField("renew_time")
        wrong.renew_time.nanos = -5
        for request in (missing, wrong):
            with pytest.raises(InvalidArgumentError, match="renew_time"):
                await api.client.renew_lease(request)


async def test_leases_that_are_too_large_together_are_renewed_apart(site: Site) -> None:
    async with serve(site, renewals_interval_s=0.3) as api:
        names = [f"fat{number}" for number in range(14)]
        for name in names:
            metadata = Metadata(namespace=NAMESPACE, name=name, annotations={"why": "x" * 250_000})
            await api.put(Object(metadata=metadata, spec=pack(Lease(holder="one", session="first"))))
        await asyncio.gather(*(api.client.renew_lease(renewal(name)) for name in names))
        for name in names:
            assert (await stored(api, name))[0].renew_time.seconds == 7


async def test_a_lease_that_cannot_be_read_fails_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(site, renewals_interval_s=0.3) as api:
        names = [f"n{number}" for number in range(6)]
        await acquire(api, *names)
        get = api.store.get

        async def damaged(keys: Any, **options: Any) -> Any:
            if any(found.endswith(b"/n3") for found in keys):
                raise DataLossError("the row is damaged")
            return await get(keys, **options)

        monkeypatch.setattr(api.store, "get", damaged)
        answers = await asyncio.gather(
            *(api.client.renew_lease(renewal(name)) for name in names), return_exceptions=True
        )
        failed = [name for name, answer in zip(names, answers, strict=True) if isinstance(answer, BaseException)]
        assert failed == ["n3"]


async def test_a_caller_that_gives_up_is_forgotten(site: Site) -> None:
    async with serve(site, renewals_interval_s=30.0) as api:
        await acquire(api, "n1")
        with pytest.raises(DeadlineExceededError):
            await api.client.renew_lease(renewal("n1"), deadline_s=0.3)
        async with asyncio.timeout(5):
            while api.server._service.renewals._waiting:
                await api.host.clock.sleep(0.05)


async def test_the_answer_has_the_revision_of_a_related_object(site: Site) -> None:
    async with serve(site, renewals_interval_s=INTERVAL_S) as api:
        await acquire(api, "n1")
        absent = await api.client.renew_lease(renewal("n1", related=key("web")))
        assert absent.related_revision == 0
        await api.put(unit("web"))
        there = await api.client.renew_lease(renewal("n1", seconds=8, related=key("web")))
        assert there.related_revision == (await api.get("web")).metadata.revision
        with pytest.raises(InvalidArgumentError, match="namespace"):
            await api.client.renew_lease(renewal("n1", related=Key(type=TYPE, name="web")))


@pytest.mark.parametrize("fields", [{"name": ""}, {"name": "no/name"}, {"namespace": ""}])
async def test_a_bad_name_is_refused(site: Site, fields: dict[str, Any]) -> None:
    async with serve(site, renewals_interval_s=INTERVAL_S) as api:
        with pytest.raises(InvalidArgumentError):
            await api.client.renew_lease(renewal(**{"name": "n1", **fields}))


async def test_a_server_that_stops_answers_those_that_wait(site: Site) -> None:
    async with serve(site, renewals_interval_s=30.0) as api:
        await acquire(api, "n1")
        waiting = asyncio.ensure_future(api.client.renew_lease(renewal("n1"), deadline_s=5.0))
        await api.host.clock.sleep(0.2)
        await api.server.stop(1.0)
        with pytest.raises(UnavailableError):
            await waiting
