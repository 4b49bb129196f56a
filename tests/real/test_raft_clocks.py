"""Three apiservers that keep a store together, while the clocks on their walls jump: only Raft's own ticks decide."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path

import pytest

from rube.api import GetRequest, PutRequest
from rube.api.keys import ObjectKey
from tests.real.test_raft_cluster import NAMES, TYPE, Load, RaftCluster, running, unit, until

HOUR_S = 3600


class WrongClocks(RaftCluster):
    """Each member's wall clock is as wrong as the test says."""

    def set_clock(self, name: str, wrong_by_s: int) -> None:
        written = self.directory / f"{name}.new"
        written.write_text(str(wrong_by_s))
        written.rename(self._file(name))

    def command(self, name: str) -> list[str]:
        self.set_clock(name, 0)
        return [sys.executable, "-m", "tests.real.wrong_clock", str(self._file(name))]

    def _file(self, name: str) -> Path:
        return self.directory / f"{name}.clock"


@pytest.mark.parametrize("leads", [True, False], ids=["leader", "follower"])
def test_a_clock_that_jumps_costs_no_leader_and_no_write(tmp_path: Path, leads: bool) -> None:
    async def main() -> None:
        async with running(WrongClocks(tmp_path)) as cluster:
            leader = await cluster.leader()
            jumps = leader if leads else next(name for name in NAMES if name != leader)
            load = Load(cluster)
            await until(lambda: len(load.acknowledged) == 4)
            created_s = [await created(cluster, jumps, "before")]
            for wrong_by_s in (HOUR_S, -HOUR_S):
                cluster.set_clock(jumps, wrong_by_s)
                before = dict(load.acknowledged)
                await until(partial(load.went_on, before, 20))
                created_s.append(await created(cluster, jumps, f"wrong{wrong_by_s}"))
            await load.stop()
            assert load.errors == []
            assert await cluster.leader() == leader
            await load.check()
            assert created_s[1] - created_s[0] == pytest.approx(HOUR_S, abs=60), "the clock did jump"
            assert created_s[2] - created_s[0] == pytest.approx(-HOUR_S, abs=60)

    asyncio.run(main())


async def created(cluster: RaftCluster, name: str, unit_name: str) -> float:
    """The time at which that member says that it created a unit."""
    async with cluster.client(name) as client:
        await client.put(PutRequest(objects=[unit(unit_name, "0")]))
        key = ObjectKey(TYPE, "test", unit_name).to_proto()
        answer = await client.get(GetRequest(key=key))
        return answer.object.metadata.create_time.ToNanoseconds() / 1e9
