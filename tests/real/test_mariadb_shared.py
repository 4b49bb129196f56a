"""Two stores on one MariaDB: what each sees of the other, and what is left when a process or the server dies."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import asyncmy
import pytest

from rube.api.errors import AbortedError, CompactedError, UnavailableError
from rube.cli.real_host import real_host
from rube.store import Compare, Op, Store, StoreConfig, Txn, open_store
from rube.store.sql import compaction, session
from rube.store.sql.reads import Reads
from rube.store.sql.rows import EVERYTHING
from rube.store.sql.store import SqlStore
from tests.mariadb import MariaDb, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

ALL = (b"\x00", b"\xff" * 16)
History = list[tuple[int, bytes, bytes]]
_numbers = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    server = MariaDb(tmp_path_factory.mktemp("mariadb"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def url(server: MariaDb) -> str:
    name = f"shared{next(_numbers)}"
    server.sql(f"CREATE DATABASE {name}")
    return server.url(name)


async def opened(url: str) -> Store:
    return await open_store(real_host(), url, StoreConfig(poll_interval_s=0.02))


async def increment(store: Store, key: bytes, times: int) -> tuple[int, int]:
    """Counts up with compares, whatever happens. Returns the numbers acknowledged and unknown."""
    acknowledged = unknown = 0
    while acknowledged < times:
        try:
            (record,) = (await store.get([key])).records
            value = b"%d" % (int(record.value) + 1 if record else 1)
            await store.commit(Txn((Op(key, value),), (Compare(key, record.mod_revision if record else 0),)))
            acknowledged += 1
        except AbortedError:
            pass
        except UnavailableError as error:
            unknown += "may have happened" in error.message
            await asyncio.sleep(0.05)
    return acknowledged, unknown


async def collect(store: Store, after_revision: int, seen: History) -> None:
    async for batch in store.watch(*ALL, after_revision=after_revision):
        seen += [(change.record.mod_revision, change.record.key, change.record.value) for change in batch.changes]


async def wait_for(seen: History, revision: int) -> None:
    async with asyncio.timeout(10):
        while not seen or seen[-1][0] < revision:
            await asyncio.sleep(0.01)


def check_counts(history: History, key: bytes) -> None:
    """Each value once and in order: nothing lost, nothing twice."""
    values = [int(value) for _, k, value in history if k == key]
    assert values == list(range(1, len(values) + 1))


def test_two_stores_lose_no_increment_and_their_watches_see_one_order(url: str) -> None:
    async def main() -> None:
        one, other = await opened(url), await opened(url)
        assert one.store_id == other.store_id
        seen: list[History] = [[], []]
        async with asyncio.TaskGroup() as watches:
            tasks = [watches.create_task(collect(s, 0, h)) for s, h in zip((one, other), seen, strict=True)]
            async with asyncio.TaskGroup() as group:
                for key in (b"a", b"b"):
                    for store in (one, other):
                        for _ in range(3):
                            group.create_task(increment(store, key, 15))
            newest = (await one.range(*ALL)).revision
            assert newest == (await other.range(*ALL)).revision == 180
            for history in seen:
                await wait_for(history, newest)
            for task in tasks:
                task.cancel()
        assert seen[0] == seen[1]
        for key in (b"a", b"b"):
            check_counts(seen[0], key)
            assert (await other.get([key])).records[0].value == b"90"
        await one.close()
        await other.close()

    asyncio.run(main())


def test_both_see_each_others_writes_at_once_and_compactions(url: str) -> None:
    async def main() -> None:
        one, other = await opened(url), await opened(url)
        for number in range(30):
            revision = await (one, other)[number % 2].commit(Txn((Op(b"k", b"%d" % number),)))
            page = await (other, one)[number % 2].range(b"k", None, min_revision=revision)
            assert page.records[0].value == b"%d" % number
        await asyncio.gather(one.compact(20), other.compact(25), one.compact(10))
        for store in (one, other):
            assert (await store.range(b"k", None, revision=25)).records[0].value == b"24"
            assert (await store.range(b"k", None)).records[0].value == b"29"
        await one.close()
        await other.close()

    asyncio.run(main())


def test_what_another_committed_is_made_durable_before_it_is_shown_and_only_once(url: str, server: MariaDb) -> None:
    """InnoDB shows commits that are not yet on its disk; a small write of the reader's own puts them there."""

    def flushes() -> int:
        return int(server.sql(f"SELECT COALESCE(SUM(number), 0) FROM {url.rpartition('/')[2]}.rube_flush"))

    async def main() -> None:
        one, other = await opened(url), await opened(url)
        await one.commit(Txn((Op(b"a", b"1"),)))
        await one.range(*ALL)
        assert flushes() == 0  # its own commit was answered
        await other.range(*ALL)
        assert flushes() == 1
        await asyncio.gather(other.range(*ALL), other.get([b"a"]))
        assert flushes() == 1
        with pytest.raises(AbortedError):  # tells of what it saw, too
            await one.commit(Txn((Op(b"a", b"2"),), (Compare(b"a", 0),)))
        revision = await other.commit(Txn((Op(b"a", b"3"),)))
        assert flushes() == 1
        with pytest.raises(AbortedError):
            await one.commit(Txn((Op(b"a", b"4"),), (Compare(b"a", 1),)))
        assert flushes() == 2
        async for batch in one.watch(*ALL, after_revision=0):
            if batch.revision == revision:
                break
        assert flushes() == 2
        await one.close()
        await other.close()

    asyncio.run(main())


def test_compaction_leaves_exactly_what_can_be_read_also_if_another_has_to_end_it(
    url: str, server: MariaDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes in steps that end within revisions; the first process dies in the middle."""
    monkeypatch.setattr(compaction, "ROWS_PER_STEP_MAX", 4)
    write = compaction._write
    left = 6

    async def dying(*arguments: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise UnavailableError("dead")
        await write(*arguments)

    def rows() -> int:
        return int(server.sql(f"SELECT COUNT(*) FROM {url.rpartition('/')[2]}.rube_log"))

    async def main() -> None:
        one, other = await opened(url), await opened(url)
        for number in range(30):
            keys = [b"%d" % ((number * 3 + step) % 11) for step in range(3)]
            await one.commit(Txn(tuple(Op(key, b"x" if number % 4 else None) for key in keys)))
        pages = {at: await one.range(*ALL, revision=at) for at in range(20, one.revision + 1)}
        later: History = []
        collecting = asyncio.ensure_future(collect(one, 20, later))
        await wait_for(later, one.revision)
        collecting.cancel()
        monkeypatch.setattr(compaction, "_write", dying)
        with pytest.raises(UnavailableError, match="dead"):
            await one.compact(20)
        await other.compact(20)
        assert rows() == len(pages[20].records) + len(later)
        for at, page in pages.items():
            assert await other.range(*ALL, revision=at) == page
        await one.compact(one.revision)
        assert rows() == len(pages[one.revision].records)
        await one.close()
        await other.close()

    asyncio.run(main())


def test_kill_9_of_the_server_under_load_loses_and_doubles_nothing(url: str, server: MariaDb) -> None:
    async def main() -> None:
        one, other = await opened(url), await opened(url)
        seen: list[History] = [[], []]
        async with asyncio.TaskGroup() as watches:
            tasks = [watches.create_task(collect(s, 0, h)) for s, h in zip((one, other), seen, strict=True)]
            async with asyncio.TaskGroup() as group:
                counts = [
                    group.create_task(increment(store, key, 25)) for key in (b"a", b"b") for store in (one, other)
                ]
                for _ in range(2):
                    await asyncio.sleep(0.25)
                    server.kill()
                    await asyncio.sleep(0.1)
                    await asyncio.to_thread(server.start)
            newest = await one.commit(Txn((Op(b"end", b""),)))
            for history in seen:
                await wait_for(history, newest)
            for task in tasks:
                task.cancel()
        assert seen[0] == seen[1]
        acknowledged, unknown = (sum(task.result()[place] for task in counts) for place in (0, 1))
        written = sum(key in (b"a", b"b") for _, key, _ in seen[0])
        assert acknowledged <= written <= acknowledged + unknown
        for key in (b"a", b"b"):
            check_counts(seen[0], key)
        await one.close()
        await other.close()

    asyncio.run(main())


def test_a_compaction_between_the_two_statements_of_a_read_of_changes_is_noticed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Reads._ask

    async def main() -> None:
        one, other = await opened(url), await opened(url)
        for number in range(4):
            await one.commit(Txn((Op(b"a", b"%d" % number),)))

        async def ask_and_be_overtaken(self: Reads, *arguments: Any, **named: Any) -> Any:
            answer = await ask(self, *arguments, **named)
            monkeypatch.undo()
            await other.compact(3)
            return answer

        await one.range(*ALL)
        assert isinstance(one, SqlStore)
        monkeypatch.setattr(Reads, "_ask", ask_and_be_overtaken)
        with pytest.raises(CompactedError):
            await one._reads.changes(EVERYTHING, 0, 1000, 1_000_000)
        await one.close()
        await other.close()

    asyncio.run(main())


STUCK_WRITER = """
import asyncio, os, sys
from rube.cli.real_host import real_host
from rube.store import Op, Txn, open_store
from rube.store.sql import session, transaction

async def stuck(*_):
    os.write(1, b"stuck\\n")
    await asyncio.Event().wait()

async def main():
    session._SETUP = tuple(s.replace("wait_timeout = 20", "wait_timeout = 2") for s in session._SETUP)
    store = await open_store(real_host(), sys.argv[1])
    transaction._update_current = stuck
    await store.commit(Txn((Op(b"a", b"half"), Op(b"b", b"half"))))

asyncio.run(main())
"""
"""A writer that stops in the middle of its transaction, with the lock on the head row and rows already written."""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hangs"])
def test_a_writer_that_dies_or_hangs_between_two_statements_holds_up_nobody(url: str, how: signal.Signals) -> None:
    async def main() -> None:
        store = await opened(url)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", STUCK_WRITER, url, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"stuck\n"
            process.send_signal(how)
            revision = await store.commit(Txn((Op(b"a", b"whole"),)))
            assert revision == 1
            assert [record.value for record in (await store.range(*ALL)).records] == [b"whole"]
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await store.close()

    asyncio.run(main())


def test_a_deadlock_whose_victim_is_the_store_is_tried_again(url: str, server: MariaDb) -> None:
    async def main() -> None:
        store = await opened(url)
        await store.commit(Txn((Op(b"a", b"1"),)))
        foreign = await asyncmy.connect(
            host="127.0.0.1", port=server.port, user="root", database=url.rpartition("/")[2], autocommit=False
        )
        cursor = foreign.cursor()
        # The server ends the one of two that has changed less.
        values = ", ".join(f"({number}, 1)" for number in range(1000, 3000))
        await cursor.execute(f"INSERT INTO rube_flush VALUES {values}")
        await cursor.execute("SELECT * FROM rube_current FOR UPDATE")
        committing = asyncio.ensure_future(store.commit(Txn((Op(b"a", b"2"),))))
        await asyncio.sleep(0.3)
        await cursor.execute("SELECT * FROM rube_head FOR UPDATE")  # and not that foreign one is the victim
        assert not committing.done()
        await foreign.rollback()
        assert await committing == 2
        assert int(server.sql("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'").split()[1]) >= 1
        await foreign.ensure_closed()
        await store.close()

    asyncio.run(main())


def test_a_lock_that_is_held_for_longer_than_the_server_lets_wait_is_waited_for_again(
    url: str, server: MariaDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = ["SET SESSION innodb_lock_wait_timeout = 1" if "lock_wait" in step else step for step in session._SETUP]
    monkeypatch.setattr(session, "_SETUP", tuple(setup))

    async def main() -> None:
        store = await opened(url)
        foreign = await asyncmy.connect(
            host="127.0.0.1", port=server.port, user="root", database=url.rpartition("/")[2], autocommit=False
        )
        await foreign.cursor().execute("SELECT * FROM rube_head FOR UPDATE")
        committing = asyncio.ensure_future(store.commit(Txn((Op(b"a", b"1"),))))
        await asyncio.sleep(1.2)
        await foreign.rollback()
        assert await committing == 1
        await foreign.ensure_closed()
        await store.close()

    asyncio.run(main())


def test_a_cancelled_read_leaves_no_answer_for_the_next(url: str) -> None:
    async def main() -> None:
        store = await opened(url)
        for number in range(20):
            await store.commit(Txn((Op(b"k%d" % number, b"%d" % number * 1000),)))
        for step in range(60):
            reading = asyncio.ensure_future(store.range(*ALL))
            for _ in range(step % 12):
                await asyncio.sleep(0)
            reading.cancel()
            number = step % 20
            (record,) = (await store.get([b"k%d" % number])).records
            assert record is not None
            assert record.value == b"%d" % number * 1000
            with suppress(asyncio.CancelledError):
                await reading
        await store.close()

    asyncio.run(main())


def test_a_commit_that_was_not_answered_is_looked_up(
    url: str, server: MariaDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to COMMIT is lost after it took effect, then the COMMIT itself."""
    from rube.store.sql.errors import LostError
    from rube.store.sql.session import Params, Rows, Session

    query = Session.query
    losses = ["answer", "commit"]

    async def lossy(self: Session, statement: str, params: Params = ()) -> Rows:
        if statement == "COMMIT" and losses:
            if losses.pop(0) == "answer":
                await query(self, statement, params)
            self.close()
            raise LostError("lost by the test")
        return await query(self, statement, params)

    async def main() -> None:
        store = await opened(url)
        monkeypatch.setattr(Session, "query", lossy)
        assert await store.commit(Txn((Op(b"a", b"1"),), (Compare(b"a", 0),))) == 1
        assert losses == ["commit"]
        # What it found it made durable before it said so: the server shows commits that are not yet on its disk.
        database = url.rpartition("/")[2]
        assert server.sql(f"SELECT SUM(number) FROM {database}.rube_flush").strip() == "1"
        assert await store.commit(Txn((Op(b"a", b"2"),), (Compare(b"a", 1),))) == 2
        assert losses == []
        # What it did not find it made impossible: a straggler would meet a write (TiDB may lose its lock).
        assert server.sql(f"SELECT settled FROM {database}.rube_head").strip() == "1"
        await store.close()

    asyncio.run(main())


def test_a_lost_commit_whose_revision_another_has_taken_is_not_mistaken_for_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rube.store.sql.errors import LostError
    from rube.store.sql.session import Params, Rows, Session

    query = Session.query
    losses = ["commit"]

    async def main() -> None:
        one, other = await opened(url), await opened(url)

        async def lossy(self: Session, statement: str, params: Params = ()) -> Rows:
            if statement == "COMMIT" and losses:
                losses.clear()
                self.close()
                assert await other.commit(Txn((Op(b"a", b"theirs"),))) == 1
                raise LostError("lost by the test")
            return await query(self, statement, params)

        monkeypatch.setattr(Session, "query", lossy)
        assert await one.commit(Txn((Op(b"a", b"ours"),))) == 2
        assert [record.value for record in (await one.range(*ALL)).records] == [b"ours"]
        await one.close()
        await other.close()

    asyncio.run(main())


def test_keys_longer_than_an_index_can_hold_keep_their_order(url: str) -> None:
    async def main() -> None:
        store = await opened(url)
        stem = b"x" * 2000
        keys = sorted([stem + b"%03d" % number for number in range(30)] + [b"x" * 700, b"x" * 701, b"y", b"x" * 4096])
        for key in reversed(keys):
            await store.commit(Txn((Op(key, key[-5:]),)))
        at = (await store.range(*ALL)).revision
        for revision in (0, at):
            for limit in (1, 7, 100):
                found: list[bytes] = []
                start, more = b"\x00", True
                while more:
                    page = await store.range(start, b"\xff", revision=revision, limit=limit)
                    found += [record.key for record in page.records]
                    start, more = found[-1] + b"\0", page.more
                assert found == keys, (revision, limit)
        part = await store.range(stem + b"005", stem + b"015", limit=4)
        assert [record.key for record in part.records] == [stem + b"%03d" % number for number in range(5, 9)]
        assert part.more
        await store.commit(Txn((Op(stem + b"007", None),)))
        found = [record.key for record in (await store.range(*ALL)).records]
        assert found == [key for key in keys if key != stem + b"007"]
        await store.close()

    asyncio.run(main())
