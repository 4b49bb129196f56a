"""The way back through the versions of one key, which the server walks by a store's reads and watches alone."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from rube.api import Metadata, Object, Version
from rube.api.errors import CompactedError, RevisionAheadError
from rube.server.history import oldest_revision, read_at, versions_of
from rube.store import Op, Store, Txn
from tests.conformance.store.store_sites import Site, delete, open_store

KEY = b"api.systemd.Unit/system/a"
OTHER = b"api.systemd.Unit/system/b"
WORDS = {Version.CREATED: "created", Version.CHANGED: "changed", Version.DELETED: "deleted"}


async def put(store: Store, text: str, key: bytes = KEY) -> int:
    value = Object(metadata=Metadata(annotations={"text": text})).SerializeToString(deterministic=True)
    return await store.commit(Txn((Op(key, value),)))


async def versions(
    store: Store, start: int = 0, key: bytes = KEY, deletions_max: int = 10
) -> list[tuple[str, str, int]]:
    """The versions in short: what happened, the text, the revision."""
    found = []
    async with aclosing(versions_of(store, key, start, deletions_max=deletions_max)) as walk:
        async for version in walk:
            assert version.object.metadata.revision == version.revision
            found.append((WORDS[version.operation], version.object.metadata.annotations["text"], version.revision))
    return found


async def test_versions_go_back_from_the_newest_write_to_the_first(site: Site) -> None:
    store = await open_store(site)
    first = await put(store, "1")
    await put(store, "of another", OTHER)
    second = await put(store, "2")
    third = await put(store, "3")
    expected = [("changed", "3", third), ("changed", "2", second), ("created", "1", first)]
    assert await versions(store) == expected
    assert await versions(store, third - 1) == expected[1:]
    assert await versions(store, second) == expected[1:]
    assert await versions(store, key=b"api.systemd.Unit/system/c") == []
    await store.close()


async def test_versions_of_a_deleted_key_and_of_its_earlier_lives_are_found(site: Site) -> None:
    store = await open_store(site)
    expected = []
    for life in ("a", "b"):
        expected += [("created", f"{life}1", await put(store, f"{life}1"))]
        expected += [("changed", f"{life}2", await put(store, f"{life}2"))]
        expected += [("deleted", f"{life}2", await delete(store, KEY))]
        await put(store, "of another", OTHER)
        await delete(store, OTHER)
    expected.reverse()
    assert await versions(store) == expected
    assert await versions(store, expected[2][2]) == expected[2:]
    assert await versions(store, expected[3][2]) == expected[3:]
    assert await versions(store, deletions_max=1) == expected[:3]
    again = ("created", "c1", await put(store, "c1"))
    assert await versions(store) == [again, *expected]
    await store.close()


async def test_history_goes_back_to_what_stood_at_the_oldest_revision(site: Site) -> None:
    store = await open_store(site)
    await put(store, "1")
    kept = await put(store, "2")
    gone = await put(store, "of another", OTHER)
    await delete(store, OTHER)
    oldest = await put(store, "of a third", b"api.systemd.Unit/system/c")
    last = await put(store, "3")
    await store.compact(oldest)
    assert await oldest_revision(store) == oldest
    assert await versions(store) == [("changed", "3", last), ("changed", "2", kept)]
    assert await versions(store, kept) == [("changed", "2", kept)], "as the next page of a history that began before"
    assert await versions(store, key=OTHER) == []
    page = await read_at(store, KEY, kept)
    assert (page.revision, page.records[0].mod_revision) == (kept, kept)
    for revision, key in ((kept - 1, KEY), (gone, OTHER), (gone, b"api.systemd.Unit/system/c")):
        with pytest.raises(CompactedError, match=f"the oldest that can be read is {oldest}") as raised:
            await read_at(store, key, revision)
        assert raised.value.metadata["oldest_revision"] == str(oldest)
    with pytest.raises(RevisionAheadError):
        await read_at(store, KEY, last + 1000)
    await store.close()


async def test_a_deletion_right_after_the_oldest_revision_is_known(site: Site) -> None:
    store = await open_store(site)
    created = await put(store, "1")
    deleted = await delete(store, KEY)
    await store.compact(created)
    assert await versions(store) == [("deleted", "1", deleted), ("created", "1", created)]
    await store.compact(deleted)
    assert await versions(store) == []
    await store.close()
