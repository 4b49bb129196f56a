"""The promises of reads of the past: Get and List at a revision, and History."""

from __future__ import annotations

import pytest

from rube.api import GetRequest, HistoryRequest, HistoryResponse, Key, ListRequest, Unit, Version
from rube.api.errors import CompactedError, InvalidArgumentError, NotFoundError, RevisionAheadError
from rube.api.types import BUILTIN
from tests.conformance.api.api_sites import TYPE, Served, Site, key, serve, unit

Operation = Version.Operation


async def description(api: Served, name: str, revision: int) -> str:
    found = await api.client.get(GetRequest(key=key(name), revision=revision))
    assert found.revision == revision
    spec = BUILTIN.unpack(found.object.spec)
    assert isinstance(spec, Unit)
    return spec.description


async def past(api: Served, revision: int, **request: object) -> list[str]:
    listed = await api.client.list_objects(
        ListRequest(**{"type": TYPE, "revision": revision, **request})  # type: ignore[arg-type]
    )
    assert listed.revision == revision
    return [obj.metadata.name for obj in listed.items]


async def history(api: Served, name: str, **request: object) -> HistoryResponse:
    return await api.client.history(HistoryRequest(key=key(name), **request))  # type: ignore[arg-type]


def lines(response: HistoryResponse) -> list[tuple[str, int, str]]:
    """Each version in short: what happened, the generation, the description."""
    found = []
    for version in response.versions:
        spec = BUILTIN.unpack(version.object.spec)
        assert isinstance(spec, Unit)
        found.append((Operation.Name(version.operation), version.object.metadata.generation, spec.description))
    return found


async def test_an_object_is_read_as_it_was_at_a_revision(site: Site) -> None:
    async with serve(site) as api:
        first = (await api.put(unit("a", "one"))).revision
        await api.put(unit("b"))
        second = (await api.put(unit("a", "two"))).revision
        deleted = (await api.delete("a")).revision
        revisions = (first, second - 1, second, deleted - 1)
        assert [await description(api, "a", at) for at in revisions] == ["one", "one", "two", "two"]
        with pytest.raises(NotFoundError, match=f"did not exist at revision {deleted}"):
            await description(api, "a", deleted)
        with pytest.raises(RevisionAheadError):
            await description(api, "a", deleted + 1000)
        with pytest.raises(InvalidArgumentError, match="leave min_revision out"):
            await api.client.get(GetRequest(key=key("a"), revision=first, min_revision=first))


async def test_a_list_shows_all_objects_as_they_were_at_a_revision(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", labels={"tier": "db"}), unit("b"), unit("c"))
        then = (await api.put(unit("b", labels={"tier": "db"}))).revision
        await api.put(unit("a"), unit("d", labels={"tier": "db"}))
        await api.delete("c")
        assert await past(api, then) == ["a", "b", "c"]
        assert await past(api, then, page_size=1) == ["a", "b", "c"]
        assert await past(api, then, label_selector="tier=db") == ["a", "b"]
        with pytest.raises(RevisionAheadError):
            await past(api, then + 1000)
        with pytest.raises(InvalidArgumentError, match="leave min_revision out"):
            await past(api, then, min_revision=then)
        page = await api.client.list_page(ListRequest(type=TYPE, revision=then, page_size=1))
        with pytest.raises(InvalidArgumentError, match=f"of a list at revision {then}, not {then + 1}"):
            await api.client.list_page(
                ListRequest(type=TYPE, revision=then + 1, page_size=1, page_token=page.next_page_token)
            )


async def test_the_past_that_the_store_has_forgotten_is_out_of_range(site: Site) -> None:
    async with serve(site) as api:
        first = (await api.put(unit("a", "one"))).revision
        kept = (await api.put(unit("a", "two"))).revision
        oldest = (await api.put(unit("b"))).revision
        await api.put(unit("a", "three"))
        await api.store.compact(oldest)
        for read in (description(api, "a", first), past(api, first)):
            with pytest.raises(CompactedError, match=f"revision {first}: the oldest .* is {oldest}") as raised:
                await read
            assert raised.value.metadata["oldest_revision"] == str(oldest)
        assert await description(api, "a", kept) == "two", "it stood at the oldest revision"
        found = await history(api, "a")
        assert found.oldest_revision == oldest
        assert lines(found) == [("CHANGED", 3, "three"), ("CHANGED", 2, "two")]


async def test_history_has_each_version_of_an_object_and_of_its_earlier_lives(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", "one"))
        await api.put(unit("a", "two"))
        await api.set_status("a", "active")
        await api.delete("a")
        await api.put(unit("other"))
        await api.put(unit("a", "three"))
        found = await history(api, "a")
        assert lines(found) == [
            ("CREATED", 1, "three"),
            ("DELETED", 2, "two"),
            ("CHANGED", 2, "two"),
            ("CHANGED", 2, "two"),
            ("CREATED", 1, "one"),
        ]
        assert (found.oldest_revision, found.revision) == (1, api.store.revision)
        for version in found.versions:
            if version.operation != Version.DELETED:
                then = await api.client.get(GetRequest(key=key("a"), revision=version.revision))
                assert then.object == version.object


async def test_pages_of_a_history_make_the_whole(site: Site) -> None:
    async with serve(site) as api:
        for number in range(3):
            await api.put(unit("a", str(number)))
            await api.delete("a")
        whole = await history(api, "a")
        pages = [await history(api, "a", page_size=2)]
        while pages[-1].next_page_token:
            await api.put(unit("a", "later"), unit("b", str(len(pages))))
            pages.append(await history(api, "a", page_size=2, page_token=pages[-1].next_page_token))
        assert [len(page.versions) for page in pages] == [2, 2, 2]
        assert [version for page in pages for version in page.versions] == list(whole.versions)
        with pytest.raises(InvalidArgumentError, match="page_token"):
            await history(api, "b", page_token=pages[0].next_page_token)
        with pytest.raises(InvalidArgumentError, match="less than 0"):
            await history(api, "a", page_size=-1)


async def test_a_page_of_a_history_ends_at_its_bound_of_bytes(site: Site) -> None:
    async with serve(site, page_bytes_max=10_000) as api:
        for number in range(3):
            await api.put(unit("a", f"{number}" * 6_000))
        assert len((await history(api, "a")).versions) == 1


async def test_an_object_that_never_was_has_no_history(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("b"))
        with pytest.raises(NotFoundError, match="did not since revision 1, the oldest that can be read"):
            await history(api, "a")
        with pytest.raises(InvalidArgumentError, match=r"did you mean 'api\.Node'"):
            await api.client.history(HistoryRequest(key=Key(type="api.Nodee", name="a")))
