"""A put that may have been committed is not sent again, whatever words the server has for what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rube.api import PutRequest
from rube.api.errors import NotDoneError, NotSentError, UnavailableError
from rube.client import Client, ClientConfig
from rube.store import Txn
from tests.conformance.api.api_sites import Served, Site, serve, unit

WORDS = (
    "the database server does not answer ([Errno 111] Connection refused): the write may have happened",
    "the database server does not answer (Connect call failed ('127.0.0.1', 3306)): the write may have happened",
    "no member of etcd answers (last: failed to connect to all addresses): the write may have happened",
)


@contextmanager
def breaking_commits(api: Served, error: Exception) -> Iterator[list[int]]:
    """Every commit is made and then ends with the error; the revisions that were made."""
    commit, made = api.store.commit, list[int]()

    async def broken(txn: Txn) -> int:
        made.append(await commit(txn))
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api.store, "commit", broken)
        yield made


@pytest.mark.parametrize("words", WORDS)
async def test_a_put_that_was_committed_is_not_sent_again(site: Site, words: str) -> None:
    async with serve(site) as api:
        with breaking_commits(api, UnavailableError(words)) as made:
            with pytest.raises(UnavailableError, match="may have happened") as raised:
                await api.put(unit("a", "ours"))
            assert not isinstance(raised.value, NotDoneError)
            assert len(made) == 1
        await api.put(unit("a", "another client's"))
        assert (await api.get("a")).metadata.generation == 2


async def test_a_store_that_was_not_reached_is_not_the_server_that_was_not_reached(site: Site) -> None:
    async with serve(site) as api:
        with breaking_commits(api, NotSentError("there is no connection to e1", why="refused")) as made:
            with pytest.raises(UnavailableError) as raised:
                await api.put(unit("a"))
            assert not isinstance(raised.value, NotDoneError)
            assert len(made) == 1


async def test_a_put_that_was_refused_is_sent_again(site: Site) -> None:
    async with serve(site) as api:
        commit, attempts = api.store.commit, list[Txn]()

        async def refused_once(txn: Txn) -> int:
            attempts.append(txn)
            if len(attempts) == 1:
                raise NotDoneError("the store is closing")
            return await commit(txn)

        api.store.commit = refused_once  # type: ignore[method-assign]
        assert (await api.put(unit("a"))).metadata[0].name == "a"
        assert len(attempts) == 2


async def test_a_put_that_no_server_can_have_seen_goes_to_the_next_one(site: Site) -> None:
    async with serve(site) as api, Client(site.host, ["127.0.0.1:1", api.address]) as client:
        assert (await client.put(PutRequest(objects=[unit("a")]))).metadata[0].name == "a"


async def test_a_repeated_conditional_put_is_told_as_unknown_once_one_attempt_was(site: Site) -> None:
    """The last attempt finds no server, which says nothing of the first one."""
    async with serve(site) as api:
        first = await api.put(unit("a", "one"))
        request = PutRequest(objects=[unit("a", "two", revision=first.revision)])
        with breaking_commits(api, UnavailableError("the answer was lost")) as made:
            async with Client(site.host, [api.address, "127.0.0.1:1"], ClientConfig(retries_max=1)) as client:
                with pytest.raises(
                    UnavailableError, match=r"an earlier attempt may have .*\(the answer was lost\)"
                ) as raised:
                    await client.put(request)
        assert not isinstance(raised.value, NotDoneError)
        assert len(made) == 1
