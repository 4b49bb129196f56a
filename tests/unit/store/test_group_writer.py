"""Groups of transactions: what goes together, and how many groups are on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from rube.api.errors import UnavailableError
from rube.store import Op, Txn
from rube.store.mvcc.writer import GROUP_BYTES_MAX, Committed, GroupWriter


class Disk:
    """Commits each group when it is told to."""

    def __init__(self) -> None:
        self.groups: list[list[bytes]] = []
        self.gates: list[asyncio.Event] = []

    async def commit(self, txns: Sequence[Txn]) -> Committed:
        number = len(self.groups)
        self.groups.append([txn.ops[0].key for txn in txns])
        self.gates.append(asyncio.Event())
        await self.gates[number].wait()
        return Committed([number] * len(txns), wrote=True)


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def put(writer: GroupWriter, key: bytes) -> asyncio.Task[int]:
    return asyncio.create_task(writer.commit(Txn((Op(key, b""),)), 1))


def test_what_comes_while_a_group_is_written_goes_together() -> None:
    async def main() -> None:
        disk = Disk()
        writer = GroupWriter(disk.commit)
        commits = [put(writer, b"a")]
        await turns()
        commits += [put(writer, b"b"), put(writer, b"c")]
        await turns()
        assert disk.groups == [[b"a"]]
        disk.gates[0].set()
        await turns()
        assert disk.groups == [[b"a"], [b"b", b"c"]]
        disk.gates[1].set()
        assert await asyncio.gather(*commits) == [0, 1, 1]
        await writer.close()

    asyncio.run(main())


def test_several_groups_are_on_their_way_where_the_store_sees_to_their_order() -> None:
    async def main() -> None:
        disk = Disk()
        writer = GroupWriter(disk.commit, groups_in_flight_max=2)
        commits = []
        for key in (b"a", b"b", b"c", b"d"):
            commits.append(put(writer, key))
            await turns()
        assert disk.groups == [[b"a"], [b"b"]]
        disk.gates[1].set()
        await turns()
        assert commits[1].done()
        assert disk.groups == [[b"a"], [b"b"], [b"c", b"d"]]
        closing = asyncio.create_task(writer.close())
        await turns()
        assert not closing.done(), "what is on its way is waited for"
        with pytest.raises(UnavailableError):
            await writer.commit(Txn((Op(b"e", b""),)), 1)
        disk.gates[0].set()
        disk.gates[2].set()
        await closing
        assert await asyncio.gather(*commits) == [0, 1, 2, 2]

    asyncio.run(main())


def test_a_further_group_waits_until_it_is_worth_its_while() -> None:
    async def main() -> None:
        disk = Disk()
        writer = GroupWriter(disk.commit, groups_in_flight_max=2, further_group_txns_min=3)
        commits = []
        for key in (b"a", b"b", b"c", b"d", b"e"):
            commits.append(put(writer, key))
            await turns()
        assert disk.groups == [[b"a"], [b"b", b"c", b"d"]]
        disk.gates[0].set()
        disk.gates[1].set()
        await turns()
        assert disk.groups[2:] == [[b"e"]], "nothing else is on its way"
        disk.gates[2].set()
        await asyncio.gather(*commits)
        await writer.close()

    asyncio.run(main())


def test_a_group_ends_before_the_transaction_that_would_make_it_too_large() -> None:
    async def main() -> None:
        disk = Disk()
        writer = GroupWriter(disk.commit)
        sizes = {b"a": 1, b"b": GROUP_BYTES_MAX - 10, b"c": 11, b"d": GROUP_BYTES_MAX + 1, b"e": 1}
        commits = [asyncio.create_task(writer.commit(Txn((Op(key, b""),)), size)) for key, size in sizes.items()]
        await turns()
        for number in range(3):
            disk.gates[number].set()
            await turns()
        assert disk.groups == [[b"a", b"b"], [b"c"], [b"d"], [b"e"]]
        disk.gates[3].set()
        await asyncio.gather(*commits)
        await writer.close()

    asyncio.run(main())
