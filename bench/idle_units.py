"""The cost of units that do nothing: processor time of the supervisor driver and of the shims over a quiet while.

`python -m bench.idle_units [--units 1000] [--seconds 30]`; docs/explanation/benchmarks.md holds a run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from rube.api import Action, Service, Unit, UnitAction
from rube.host import Host, RealClock, RealRandomness
from rube.units.drivers.supervisor import SupervisorDriver

ACTIONS_MAX = 8
"""At the same time."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def unit() -> Unit:
    made = Unit()
    made.service.type = Service.SIMPLE
    made.service.exec.start.append("/bin/sleep 100000")
    return made


def processor_s(pids: Iterable[int]) -> float:
    """User and system time that these processes have taken so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_S


def switches(pids: Iterable[int]) -> int:
    """The count of how often these processes have been woken: each wait that ends is a voluntary context switch."""
    found = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        found += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))
    return found


def shims(directory: str) -> list[int]:
    """The supervisor processes of units below this directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"\0{directory}/".encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


async def measure(units: int, seconds: float, directory: str) -> None:
    host = Host(
        name="node-1",
        clock=RealClock(),
        network=None,  # type: ignore[arg-type]  # the driver opens no connection
        storage=None,  # type: ignore[arg-type]
        random=RealRandomness(),
    )
    driver = SupervisorDriver(host, directory)
    names = [f"rube-bench.u{number}.service" for number in range(units)]

    async def follow() -> None:
        async for _ in driver.changes():
            pass

    await each(names, driver, lambda: {"ensure": UnitAction.Ensure(spec=unit(), uid="u", run=UnitAction.Ensure.START)})
    following = asyncio.create_task(follow())
    try:
        await asyncio.sleep(5)
        pids, me = shims(directory), [os.getpid()]
        before = processor_s(me), processor_s(pids), switches(pids)
        await asyncio.sleep(seconds)
        own, theirs = processor_s(me) - before[0], processor_s(pids) - before[1]
        woken = switches(pids) - before[2]
    finally:
        following.cancel()
        await each(names, driver, lambda: {"remove": UnitAction.Remove()})
        await driver.close()
    print(f"{units} idle units, {len(pids)} supervisor processes, {seconds:.0f} s:")
    print(f"  driver  {own:7.2f} s of processor time, {own / seconds:7.2%} of a core")
    print(f"  shims   {theirs:7.2f} s of processor time, {theirs / seconds:7.2%} of a core, {woken} wake-ups")


async def each(names: list[str], driver: SupervisorDriver, what: object) -> None:
    gate = asyncio.Semaphore(ACTIONS_MAX)

    async def one(name: str) -> None:
        async with gate:
            action = Action(id=os.urandom(8).hex())
            action.action.Pack(UnitAction(unit=name, **what()))  # type: ignore[operator]
            await driver.apply(action)

    start = time.monotonic()
    await asyncio.gather(*(one(name) for name in names))
    print(f"  ({len(names)} actions in {time.monotonic() - start:.0f} s)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="rube-idle-")
    try:
        asyncio.run(measure(options.units, options.seconds, directory))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
