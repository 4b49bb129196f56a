"""A unit and its disk: output stays bounded on a small one, and a full one keeps no unit from being removed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

from rube.api import Action, UnitAction
from rube.units.drivers.supervisor.logs import LOG_BYTES_MAX, LOG_FILES
from tests.real.full_disk import mounted, take_all
from tests.real.supervisor_bench import NAME, Bench, is_alive, make_unit


async def remove(bench: Bench) -> None:
    action = Action(id="removal")
    action.action.Pack(UnitAction(unit=NAME, remove=UnitAction.Remove()))
    async with asyncio.timeout(60):
        while await bench.driver.apply(action):
            await asyncio.sleep(0.1)


def test_a_chatty_unit_leaves_a_small_disk_to_others(tmp_path: Path) -> None:
    async def body(disk: Path) -> None:
        bench = Bench(disk)
        await bench.start(make_unit("/usr/bin/yes"))
        await bench.until(lambda _: (bench.directory / f"log.{LOG_FILES - 1}").exists())
        for _ in range(100):
            used = shutil.disk_usage(disk).used
            assert used <= (LOG_FILES + 1) * LOG_BYTES_MAX
            await asyncio.sleep(0.01)
        await remove(bench)

    with mounted(tmp_path / "disk", 16) as disk:
        asyncio.run(body(disk))


def test_a_unit_on_a_full_disk_goes_on_and_says_later_what_was_lost(tmp_path: Path) -> None:
    async def body(disk: Path) -> None:
        bench = Bench(disk)
        script = bench.root / "print.sh"
        script.write_text("while :; do head -c 5000 /dev/zero | tr '\\0' x; echo; sleep 0.1; done\n")
        await bench.start(make_unit(f"/bin/sh {script}"))
        pid = (await bench.until_sub("running")).status.main_pid
        await bench.until(lambda _: bench.log().count("\n") > 2)
        other = take_all(disk)
        await asyncio.sleep(1.5)
        assert is_alive(pid)
        other.unlink()
        await bench.until(lambda _: "bytes of output were lost here: no space left on device]" in bench.log())
        await remove(bench)

    with mounted(tmp_path / "disk", 8) as disk:
        asyncio.run(body(disk))


def test_a_unit_is_removed_from_a_full_disk(tmp_path: Path) -> None:
    async def body(disk: Path) -> None:
        bench = Bench(disk)
        await bench.start(make_unit("/bin/sleep 1000"))
        pid = (await bench.until_sub("running")).status.main_pid
        take_all(disk)
        await remove(bench)
        assert not is_alive(pid)
        assert not bench.directory.exists()

    with mounted(tmp_path / "disk", 8) as disk:
        asyncio.run(body(disk))


def test_a_unit_whose_shim_was_killed_is_removed_from_a_full_disk(tmp_path: Path) -> None:
    async def body(disk: Path) -> None:
        bench = Bench(disk)
        await bench.start(make_unit("/bin/sleep 1000"))
        pid = (await bench.until_sub("running")).status.main_pid
        os.kill(bench.shim_pid(), signal.SIGKILL)
        take_all(disk)
        await remove(bench)
        assert not is_alive(pid)

    with mounted(tmp_path / "disk", 8) as disk:
        asyncio.run(body(disk))
