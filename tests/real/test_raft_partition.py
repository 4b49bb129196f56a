"""Three apiservers that keep a store together, each with a network of its own: what is cut off gets no packet."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import combinations
from pathlib import Path

import pytest

from rube.api import ListRequest, Object, Precondition, PutRequest, Unit, WatchRequest
from rube.api.errors import DeadlineExceededError, RubeError, UnavailableError
from rube.cli.real_host import real_host
from rube.client import Client, ClientConfig
from tests.real import namespaces
from tests.real.namespaces import Namespaces
from tests.real.test_raft_cluster import NAMES, TYPE, RaftCluster, running, unit, until

pytestmark = pytest.mark.skipif(bool(namespaces.missing()), reason=namespaces.missing())

WRITERS = 4
REFUSED = (UnavailableError, DeadlineExceededError)
Told = Counter[tuple[str, int, int]]
"""How often a watch has told of this object, with this value, at this revision."""


class ApartCluster(RaftCluster):
    """Each member in a namespace of its own, numbered by its place in NAMES. This process reaches all of them."""

    def __init__(self, directory: Path, wires: Namespaces) -> None:
        super().__init__(directory)
        self.wires = wires
        self.api = {name: f"{wires.address(number)}:7823" for number, name in enumerate(NAMES)}
        self.peer = {name: f"{wires.address(number)}:7824" for number, name in enumerate(NAMES)}

    def command(self, name: str) -> list[str]:
        return [*self.wires.command(NAMES.index(name)), *super().command(name)]

    def cut_off_from_members(self, name: str) -> None:
        """Clients still reach it."""
        for other in set(NAMES) - {name}:
            self.wires.part(NAMES.index(name), NAMES.index(other))

    def isolate(self, name: str) -> None:
        self.wires.isolate(NAMES.index(name))


class Counts:
    """Clients that count one object each up, by one, on the condition that no other has: whatever is done twice, or
    comes late, would show among the changes of that object, which are 1, 2, 3 and so on if all is well."""

    def __init__(self, cluster: RaftCluster) -> None:
        self._cluster = cluster
        # By object and value, at which revision.
        self.acknowledged: dict[tuple[str, int], int] = {}
        self._stopping = False
        self._tasks = [asyncio.create_task(self._count(f"n{number}")) for number in range(WRITERS)]

    async def _count(self, name: str) -> None:
        addresses = [self._cluster.api[member] for member in NAMES]
        async with Client(real_host(), addresses, ClientConfig(attempt_s_max=1)) as client:
            value, revision = 0, 0
            while not self._stopping:
                condition = Precondition(revision=revision, absent=not revision)
                request = PutRequest(objects=[unit(name, str(value + 1))], preconditions=[condition])
                try:
                    revision = (await client.put(request, deadline_s=5)).revision
                    value += 1
                    self.acknowledged[name, value] = revision
                except RubeError:  # whether it was done, only the store can say
                    value, revision = await self._stored(client, name, value, revision)

    async def _stored(self, client: Client, name: str, value: int, revision: int) -> tuple[int, int]:
        try:
            listed = await client.list_objects(ListRequest(type=TYPE, name=name), deadline_s=5)
        except RubeError:
            return value, revision
        (found,) = listed.items or [unit(name, "0")]
        assert value <= count_of(found) <= value + 1, f"{name} was {value} and is {count_of(found)}"
        return count_of(found), found.metadata.revision

    async def progress(self) -> None:
        """Each of them has further puts acknowledged."""
        before = Counter(name for name, _ in self.acknowledged)
        goal = {f"n{number}": before[f"n{number}"] + 5 for number in range(WRITERS)}
        await until(lambda: all(Counter(name for name, _ in self.acknowledged)[name] >= goal[name] for name in goal))

    async def check(self) -> None:
        """Ends them. Then every member tells the same history, in which nothing is lost and nothing is double."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        last = max(self.acknowledged.values())
        told = [await self._history(member, last) for member in NAMES]
        assert all(one == told[0] for one in told)
        for (name, value), revision in self.acknowledged.items():
            assert told[0][name, value, revision] == 1, f"{name}={value} at {revision} was acknowledged"
        for number in range(WRITERS):
            values = sorted(value for name, value, _ in told[0].elements() if name == f"n{number}")
            assert values == list(range(1, len(values) + 1))

    async def _history(self, member: str, last: int) -> Told:
        """All changes up to that revision, which this member tells."""
        told: Told = Counter()
        async with self._cluster.client(member) as client, asyncio.timeout(10):
            async for response in client.watch(WatchRequest(type=TYPE, after_revision=1)):
                for event in response.events:
                    found = event.update
                    if found.metadata.revision and found.metadata.revision <= last:
                        told[found.metadata.name, count_of(found), found.metadata.revision] += 1
                if response.revision >= last:
                    return told
        raise AssertionError(f"the watch at {member} has ended")


def count_of(obj: Object) -> int:
    spec = Unit()
    obj.spec.Unpack(spec)
    return int(spec.description)


@pytest.fixture
def wires() -> Iterator[Namespaces]:
    with Namespaces(len(NAMES)) as wires:
        yield wires


@asynccontextmanager
async def counted(directory: Path, wires: Namespaces) -> AsyncIterator[tuple[ApartCluster, Counts]]:
    """At the end all are together again, and what was counted is checked."""
    async with running(ApartCluster(directory, wires)) as cluster:
        async with cluster.client() as client:
            await client.put(PutRequest(objects=[unit("first", "0")]))
        counts = Counts(cluster)
        await counts.progress()
        yield cluster, counts
        cluster.wires.heal()
        for name in NAMES:
            await cluster.until(name, state="up to date")
        await counts.progress()
        await counts.check()


async def refuses(cluster: RaftCluster, name: str) -> None:
    """A member cut off acknowledges no write, and answers no read with what may be out of date."""
    async with cluster.client(name) as client:
        answers = await asyncio.gather(
            client.put(PutRequest(objects=[unit("refused", "0")]), deadline_s=2),
            client.list_objects(ListRequest(type=TYPE), deadline_s=2),
            return_exceptions=True,
        )
    assert all(isinstance(answer, REFUSED) for answer in answers), answers


def test_a_leader_cut_off_from_the_others_refuses_and_they_go_on(tmp_path: Path, wires: Namespaces) -> None:
    """It still hears clients, who count it as a server like any other."""

    async def main() -> None:
        async with counted(tmp_path, wires) as (cluster, counts):
            cut = await cluster.leader()
            cluster.cut_off_from_members(cut)
            await refuses(cluster, cut)
            await counts.progress()
            assert (await cluster.members())[cut]["role"] == "voter", "another one leads, of a later term"

    asyncio.run(main())


@pytest.mark.parametrize("leads", [True, False], ids=["leader", "follower"])
def test_a_member_cut_off_from_everybody_stops_nobody(tmp_path: Path, wires: Namespaces, leads: bool) -> None:
    """Clients that were connected to it hear nothing of it, and go on elsewhere."""

    async def main() -> None:
        async with counted(tmp_path, wires) as (cluster, counts):
            leader = await cluster.leader()
            cluster.isolate(leader if leads else next(name for name in NAMES if name != leader))
            await counts.progress()

    asyncio.run(main())


def test_three_that_do_not_hear_each_other_acknowledge_nothing(tmp_path: Path, wires: Namespaces) -> None:
    async def main() -> None:
        async with counted(tmp_path, wires) as (cluster, _):
            for one, other in combinations(range(len(NAMES)), 2):
                wires.part(one, other)
            await asyncio.gather(*(refuses(cluster, name) for name in NAMES))

    asyncio.run(main())
