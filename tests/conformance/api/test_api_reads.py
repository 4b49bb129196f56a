"""The promises of Get and List."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from rube.api import GetRequest, Key, ListRequest, ListResponse, Metadata, Node, Object, WatchRequest
from rube.api.errors import CompactedError, InvalidArgumentError, NotFoundError, RevisionAheadError
from rube.api.types import BUILTIN, Types, pack
from rube.client import Informer, InformerConfig
from rube.server.filters import ObjectFilter
from tests.conformance.api.api_sites import TYPE, Served, Site, key, serve, unit


async def names(api: Served, **request: object) -> list[str]:
    listed = await api.client.list_objects(ListRequest(**{"type": TYPE, **request}))  # type: ignore[arg-type]
    return [obj.metadata.name for obj in listed.items]


async def test_an_absent_object_is_not_found(site: Site) -> None:
    async with serve(site) as api:
        with pytest.raises(NotFoundError) as raised:
            await api.get("a")
        assert raised.value.metadata["key"] == f"{TYPE}/system/a"


async def test_reads_of_a_bad_key_or_type_are_refused(site: Site) -> None:
    async with serve(site) as api:
        with pytest.raises(InvalidArgumentError, match=r"metadata\.name"):
            await api.client.get(GetRequest(key=Key(type=TYPE, namespace="system")))
        with pytest.raises(InvalidArgumentError, match=r"did you mean 'api\.Node'"):
            await api.client.get(GetRequest(key=Key(type="api.Nodee", name="a")))
        for bad in ({"type": "api.Nodee"}, {"type": ""}, {"namespace": "A"}, {"name": "-"}, {"page_size": -1}):
            with pytest.raises(InvalidArgumentError):
                await names(api, **bad)
        with pytest.raises(InvalidArgumentError, match="column"):
            await names(api, label_selector="a=b=c")


async def test_an_unknown_type_is_told_from_other_mistakes(site: Site) -> None:
    async with serve(site) as api:
        with pytest.raises(InvalidArgumentError) as listed:
            await names(api, type="acme.Lamp")
        with pytest.raises(InvalidArgumentError) as watched:
            async with aclosing(api.client.watch(WatchRequest(type="acme.Lamp", send_initial=True))) as responses:
                await anext(responses)
        with pytest.raises(InvalidArgumentError) as mistaken:
            await names(api, label_selector="a=b=c")
        fields = [found.value.metadata.get("field") for found in (listed, watched, mistaken)]
        assert (fields[:2], fields[2] == "type") == (["type", "type"], False)


async def test_an_informer_of_an_unknown_type_waits_until_the_server_knows_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An upgrade of the server ends the wait."""
    known = ObjectFilter.of
    asked = 0

    def of(request: ListRequest | WatchRequest, types: Types) -> ObjectFilter:
        nonlocal asked
        asked += 1
        if asked <= 3:
            BUILTIN.kind("acme.Lamp")
        return known(request, types)

    monkeypatch.setattr(ObjectFilter, "of", of)
    async with serve(site) as api:
        await api.put(unit("a"))
        informer = Informer(
            api.client, site.host, InformerConfig(type=TYPE, backoff_s_initial=0.01, backoff_s_max=0.02)
        )
        running = asyncio.create_task(informer.run())
        seen: list[str] = []
        informer.add_progress_handler(lambda: seen.append(informer.refusal))
        await informer.synced.wait()
        running.cancel()
    assert [key.name for key in informer.objects] == ["a"]
    assert (informer.refusal, asked) == ("", 4)
    assert any("acme.Lamp" in found for found in seen)
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len([line for line in warned if "acme.Lamp" in line]) == 1


async def test_a_list_is_in_order_and_of_one_type(site: Site) -> None:
    async with serve(site) as api:
        node = Object(metadata=Metadata(name="n"), spec=pack(Node()))
        await api.put(unit("b"), unit("a"), unit("c", namespace="other"), node)
        assert await names(api) == ["c", "a", "b"]
        assert await names(api, type="api.Node") == ["n"]
        assert await names(api, type="api.Lease") == []


async def test_a_list_is_filtered_by_namespace_name_and_labels(site: Site) -> None:
    async with serve(site) as api:
        await api.put(
            unit("a", labels={"tier": "web", "node": "n1"}),
            unit("b", labels={"tier": "db"}),
            unit("a", namespace="other"),
            unit("a-b", namespace="system-2"),
        )
        assert await names(api, namespace="system") == ["a", "b"]
        assert await names(api, name="a") == ["a", "a"]
        assert await names(api, namespace="system", name="b") == ["b"]
        assert await names(api, namespace="system", name="missing") == []
        assert await names(api, label_selector="tier=web") == ["a"]
        assert await names(api, label_selector="tier") == ["a", "b"]
        assert await names(api, label_selector="tier!=web,node") == []
        assert await names(api, namespace="system", name="a", label_selector="tier=db") == []


async def test_pages_show_the_store_at_one_revision(site: Site) -> None:
    async with serve(site) as api:
        await api.put(*(unit(f"u{number:02}", "old") for number in range(10)))
        seen: list[ListResponse] = []
        async for page in api.client.list_pages(ListRequest(type=TYPE, page_size=3)):
            seen.append(page)
            await api.put(unit("u99"), unit("u09", f"changed {len(seen)}"))
            if len(seen) == 1:
                await api.delete("u05")
        assert [len(page.items) for page in seen] == [3, 3, 3, 1]
        assert {page.revision for page in seen} == {seen[0].revision}
        items = [obj for page in seen for obj in page.items]
        assert [obj.metadata.name for obj in items] == [f"u{number:02}" for number in range(10)]
        assert {BUILTIN.unpack(obj.spec).description for obj in items} == {"old"}  # type: ignore[attr-defined]


async def test_the_last_full_page_has_no_token(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"), unit("b"))
        page = await api.client.list_page(ListRequest(type=TYPE, page_size=2))
        assert (len(page.items), page.next_page_token) == (2, "")


async def test_a_page_ends_at_its_bytes(site: Site) -> None:
    async with serve(site, page_bytes_max=10_000) as api:
        await api.put(*(unit(f"u{number}", "x" * 4000) for number in range(7)))
        pages = [page async for page in api.client.list_pages(ListRequest(type=TYPE))]
        assert [len(page.items) for page in pages] == [2, 2, 2, 1]


async def test_a_selector_that_matches_little_gives_short_pages_until_the_end(site: Site) -> None:
    async with serve(site, page_scanned_objects_max=4) as api:
        await api.put(*(unit(f"u{number}", labels={"odd": str(number % 2)}) for number in range(9)), unit("z"))
        pages = [page async for page in api.client.list_pages(ListRequest(type=TYPE, label_selector="odd,odd!=0"))]
        assert [[obj.metadata.name for obj in page.items] for page in pages] == [["u1", "u3"], ["u5", "u7"], []]


async def test_a_page_token_is_of_its_list_alone(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"), unit("b"), unit("c"))
        token = (await api.client.list_page(ListRequest(type=TYPE, page_size=1))).next_page_token
        bad = [
            {"page_token": token, "namespace": "system"},
            {"page_token": token, "label_selector": "x"},
            {"page_token": token, "type": "api.Node"},
            {"page_token": token[:-4]},
            {"page_token": "not a token"},
            {"page_token": "AAAA"},
        ]
        for request in bad:
            with pytest.raises(InvalidArgumentError, match="page_token"):
                await names(api, **request)
        assert await names(api, page_token=token) == ["b", "c"]


async def test_a_page_of_a_compacted_revision_says_so(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"), unit("b"))
        token = (await api.client.list_page(ListRequest(type=TYPE, page_size=1))).next_page_token
        last = await api.put(unit("a", "changed"))
        await api.store.compact(last.revision)
        with pytest.raises(CompactedError) as raised:
            await names(api, page_token=token)
        assert raised.value.metadata["oldest_revision"] == str(last.revision)


async def test_reads_can_ask_not_to_be_older_than_a_revision(site: Site) -> None:
    async with serve(site) as api:
        put = await api.put(unit("a"))
        got = await api.client.get(GetRequest(key=key("a"), min_revision=put.revision))
        assert got.revision >= put.revision
        assert await names(api, min_revision=put.revision) == ["a"]
        with pytest.raises(RevisionAheadError) as raised:
            await api.client.get(GetRequest(key=key("a"), min_revision=put.revision + 1000))
        assert raised.value.metadata["revision"] == str(put.revision)
        with pytest.raises(RevisionAheadError):
            await names(api, min_revision=put.revision + 1000)


async def test_objects_survive_the_server(site: Site) -> None:
    if site.store_url == "memory:":
        pytest.skip("a store in memory remembers nothing")
    async with serve(site) as api:
        await api.put(unit("a", labels={"x": "1"}))
        await api.set_status("a", "active")
        before = await api.client.get(GetRequest(key=key("a")))
    async with serve(site) as api:
        after = await api.client.get(GetRequest(key=key("a")))
        assert (after.object, after.store_id) == (before.object, before.store_id)
