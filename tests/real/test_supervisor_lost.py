"""A shim is killed: its loss is not the service's. Nothing of the service is lost for good, and nothing runs twice."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from rube.api import Service, Unit, UnitAction, UnitObservation
from rube.units.drivers.supervisor import watching
from tests.real.supervisor_bench import Bench, Ensure, is_alive, make_unit, play, shell


def restarting(unit: Unit, restart: Service.Restart.ValueType = Service.ON_FAILURE, restart_s: float = 0.1) -> Unit:
    unit.service.restart = restart
    unit.service.time.restart = restart_s
    return unit


def kill_shim(bench: Bench) -> None:
    os.kill(bench.shim_pid(), signal.SIGKILL)


def processes_of(marker: str) -> list[int]:
    """The living `sleep MARKER`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() == f"sleep\0{marker}\0".encode():
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if is_alive(pid)]


def runs_as_another_than(pid: int) -> Callable[[UnitObservation], bool]:
    return lambda seen: seen.status.sub_state == "running" and seen.status.main_pid not in (0, pid)


def test_a_service_that_lost_its_shim_is_started_again_by_its_policy_and_never_runs_twice() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(restarting(make_unit("sleep 1101")))
        pid = (await bench.until_sub("running")).status.main_pid
        async with bench.following():
            kill_shim(bench)
            seen = await bench.until(runs_as_another_than(pid))
        assert processes_of("1101") == [seen.status.main_pid]
        assert seen.status.restarts == 1
        assert seen.status.message == ""

    play(body)


def test_a_service_that_died_with_its_shim_while_no_driver_looked_is_started_again() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(restarting(make_unit("sleep 1102")))
        pid = (await bench.until_sub("running")).status.main_pid
        kill_shim(bench)
        os.kill(pid, signal.SIGKILL)
        async with bench.following():
            await bench.until(runs_as_another_than(pid))

    play(body)


def test_without_a_restart_policy_it_is_failed_and_the_result_says_why() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(make_unit("sleep 1103"))
        pid = (await bench.until_sub("running")).status.main_pid
        shim = bench.shim_pid()
        async with bench.following():
            kill_shim(bench)
            seen = await bench.until_sub("failed")
        assert (seen.status.result, seen.status.main_pid) == ("supervisor-lost", 0)
        assert seen.reason == f"its supervisor process {shim} was killed"
        assert not is_alive(pid)

    play(body)


def test_until_somebody_takes_over_the_observation_says_that_the_shim_is_gone() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(make_unit("sleep 1104"))
        before = await bench.until_sub("running")
        kill_shim(bench)
        seen = await bench.until(lambda seen: "is gone" in seen.status.message)
        assert (seen.status.sub_state, seen.status.main_pid) == ("running", before.status.main_pid)
        os.kill(before.status.main_pid, signal.SIGKILL)
        await bench.until(lambda seen: seen.status.main_pid == 0)

    play(body)


def test_a_restart_that_was_due_still_comes() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(restarting(make_unit("/bin/sh -c 'sleep 0.1; exit 1'"), restart_s=0.5))
        await bench.until_sub("auto-restart")
        async with bench.following():
            kill_shim(bench)
            await bench.until(lambda seen: seen.status.restarts == 1)

    play(body)


def test_a_stop_that_was_under_way_is_finished_and_not_taken_for_a_failure() -> None:
    async def body(bench: Bench) -> None:
        unit = restarting(shell("trap '' TERM; echo up; while :; do sleep 1105; done"), Service.ALWAYS)
        await bench.start(unit)
        await bench.until(lambda _: "up" in bench.log())
        await bench.stop(unit)
        await bench.until_sub("stop-sigterm")
        async with bench.following():
            kill_shim(bench)
            seen = await bench.until(lambda seen: seen.status.active_state == "inactive")
            await asyncio.sleep(0.3)
        assert seen.status.result == "success"
        assert processes_of("1105") == []

    play(body)


def test_a_oneshot_that_has_done_its_work_stays_so() -> None:
    async def body(bench: Bench) -> None:
        unit = restarting(make_unit("/bin/true", kind=Service.ONESHOT))
        unit.service.remain_after_exit = True
        await bench.start(unit)
        await bench.until_sub("exited")
        shim = bench.shim_pid()
        async with bench.following():
            kill_shim(bench)
            await bench.until(lambda _: bench.shim_pid() != shim)
        seen = await bench.observe()
        assert (seen.status.sub_state, seen.status.restarts) == ("exited", 0)

    play(body)


def test_what_hides_its_environment_or_forked_away_is_found_too() -> None:
    async def body(bench: Bench) -> None:
        script = "env -i sleep 1106 & setsid sleep 1106 & exec env -i sleep 1106"
        await bench.start(shell(script))
        await bench.until(lambda _: len(processes_of("1106")) == 3)
        async with bench.following():
            kill_shim(bench)
            await bench.until_sub("failed")
        assert processes_of("1106") == []

    play(body)


def test_a_start_that_was_cut_off_before_its_processes_were_written_down_does_not_double_the_service() -> None:
    async def body(bench: Bench) -> None:
        unit = make_unit("sleep 1107")
        await bench.start(unit)
        await bench.stop(unit)
        await bench.until_sub("dead")
        path = bench.directory / "state.json"
        state = json.loads(path.read_text())
        environment = {"PATH": "/bin", "INVOCATION_ID": "of-the-new-start"}
        spawned = await asyncio.create_subprocess_exec("sleep", "1107", env=environment)
        state.update(state="start", loading=True, invocation="of-the-new-start", start_pending=False)
        path.write_text(json.dumps(state))
        async with bench.following():
            seen = await bench.until(runs_as_another_than(spawned.pid))
        assert await spawned.wait() == -signal.SIGKILL
        assert processes_of("1107") == [seen.status.main_pid]

    play(body)


def test_a_pid_that_is_used_again_is_not_taken_for_the_shim_or_its_service() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(make_unit("sleep 1108"))
        pid = (await bench.until_sub("running")).status.main_pid
        kill_shim(bench)
        os.kill(pid, signal.SIGKILL)
        path = bench.directory / "state.json"
        state = json.loads(path.read_text())
        state.update(main_pid=os.getpid(), shim=[os.getpid(), 1], processes=[[os.getpid(), 1]])
        path.write_text(json.dumps(state))
        async with bench.following():
            await bench.until_sub("failed")

    play(body)


def test_a_unit_without_a_shim_is_removed_with_all_it_left() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(restarting(make_unit("sleep 1109"), Service.ALWAYS))
        await bench.until_sub("running")
        kill_shim(bench)
        await bench.apply(remove=UnitAction.Remove())
        assert processes_of("1109") == []
        assert not (await bench.observe()).installed

    play(body)


def test_why_nobody_can_take_over_is_said_until_somebody_does() -> None:
    async def body(bench: Bench) -> None:
        await bench.start(restarting(make_unit("sleep 1111")))
        pid = (await bench.until_sub("running")).status.main_pid
        in_the_way = bench.directory / "shim.log"
        in_the_way.unlink()
        in_the_way.mkdir()
        kill_shim(bench)
        async with bench.following():
            await bench.until(lambda seen: "ended with status 1" in seen.error)
            assert is_alive(pid)
            in_the_way.rmdir()
            await bench.until(runs_as_another_than(pid))
            await bench.until(lambda seen: not seen.error)

    play(body)


def test_shims_killed_at_random_moments_leave_one_service_or_none() -> None:
    async def body(bench: Bench) -> None:
        rng = random.Random(7)
        unit = restarting(make_unit("sleep 1110"), Service.ALWAYS, 0.01)
        unit.start_limit.burst = 0
        async with bench.following():
            await bench.start(unit)
            for _ in range(12):
                await asyncio.sleep(rng.uniform(0.0, 0.1))
                try:
                    kill_shim(bench)
                except ProcessLookupError:
                    pass
                await bench.apply(ensure=Ensure(spec=unit, uid="u", generation=1, run=Ensure.RESTART))
            seen = await bench.until(lambda seen: seen.status.sub_state == "running" and not seen.status.message)
        assert processes_of("1110") == [seen.status.main_pid]

    play(body)


def test_without_watches_from_the_kernel_units_are_looked_at_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(watching, "INotify", refuse)

    async def body(bench: Bench) -> None:
        await bench.start(restarting(make_unit("sleep 1112")))
        pid = (await bench.until_sub("running")).status.main_pid
        async with bench.following():
            kill_shim(bench)
            seen = await bench.until(runs_as_another_than(pid))
        assert processes_of("1112") == [seen.status.main_pid]

    play(body)
