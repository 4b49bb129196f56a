"""Restores that are killed or lose power at any step: nothing that they leave is taken for a store."""

from __future__ import annotations

import pytest

from rube.api.errors import FailedPreconditionError
from rube.sim.world.kernel import Death
from rube.store import Record
from tests.conformance.store.life_calls import backup_of, fill, opened, records_of, restored
from tests.conformance.store.store_sites import SimSite


@pytest.mark.parametrize("death", [Death.KILL, Death.POWER_LOSS])
def test_a_restore_that_dies_at_any_step_leaves_no_store_and_can_be_run_again(death: Death) -> None:
    """The copy takes its disk four syncs of 1 to 3 ms; deaths come before, in and after them."""
    outcomes = {"nothing": 0, "refused": 0, "whole": 0}
    for number in range(40):
        outcomes[_die_after(number * 0.25e-3, death, seed=number)] += 1
    assert min(outcomes.values()) > 0, outcomes
    assert outcomes["refused"] > 5, outcomes


def _die_after(seconds: float, death: Death, seed: int) -> str:
    site = SimSite(seed)
    site.disk.latency_ms(1, 3)
    backups: list[bytes] = []
    kept: list[Record] = []
    outcome: list[str] = []

    async def prepare() -> None:
        store = await site.open_store()
        await fill(store)
        kept.extend(await records_of(store))
        await store.close()
        backups.append((await backup_of(site))[0])

    async def look() -> None:
        try:
            store = await opened(site, "copy")
        except FailedPreconditionError as error:
            outcome.append("refused" if "run `rube store restore`" in error.message else error.message)
        else:
            found = await records_of(store)
            assert found in ([], kept)
            outcome.append("whole" if found else "nothing")
            await store.close()

    async def again() -> None:
        await restored(site, backups[0], "copy")
        store = await opened(site, "copy")
        assert await records_of(store) == kept
        await store.close()

    with site.world as world:
        world.run(prepare, host=site.sim_host)
        process = site.sim_host.spawn("restore", lambda: restored(site, backups[0], "copy"))
        world.run_for(seconds)
        if death is Death.KILL:
            process.kill()
        else:
            site.sim_host.power_off()
            site.sim_host.power_on()
        world.run(look, host=site.sim_host)
        if outcome == ["refused"]:
            world.run(again, host=site.sim_host)
    return outcome[0]
