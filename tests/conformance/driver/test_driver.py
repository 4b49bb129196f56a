"""The promises of every driver of units, on real and on simulated machines (rube.controllers.driver)."""

from __future__ import annotations

import pytest

from rube.api import Action, LogsRequest, UnitAction
from rube.api.errors import InvalidArgumentError
from rube.units.render import digest_of
from rube.units.service.exit_codes import explain_exit
from tests.conformance.driver import driver_units as units
from tests.conformance.driver.driver_rigs import Rig, Run, SimMachine, reading_changes

Ensure = UnitAction.Ensure
NAME, OTHER = "rube-test.one.service", "rube-test.two.service"


def test_what_is_not_there_is_observed_as_absent(run: Run) -> None:
    async def body(rig: Rig) -> None:
        seen = await rig.observe("rube-test.absent.service")
        assert not seen.installed
        assert (seen.status.load_state, seen.status.active_state) == ("not-found", "inactive")
        assert await rig.driver.list() == []

    run(body)


def test_a_unit_is_installed_and_runs(run: Run) -> None:
    async def body(rig: Rig) -> None:
        case = units.runs()
        action = await rig.ensure(NAME, case, Ensure.START, generation=4)
        seen = await rig.until_sub(NAME, "running")
        assert (seen.installed, seen.uid, seen.generation, seen.digest) == (True, "uid-1", 4, digest_of(case.unit))
        assert (seen.status.load_state, seen.status.active_state, seen.status.result) == ("loaded", "active", "success")
        assert seen.status.main_pid
        assert seen.status.active_time.seconds
        assert seen.last_action_id == action
        assert await rig.driver.list() == [NAME]

    run(body)


def test_keep_installs_and_starts_nothing(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.runs(), Ensure.KEEP)
        seen = await rig.observe(NAME)
        assert (seen.installed, seen.status.active_state, seen.status.main_pid) == (True, "inactive", 0)

    run(body)


def test_enablement_is_reported(run: Run) -> None:
    async def body(rig: Rig) -> None:
        case = units.runs()
        case.unit.enabled = True
        await rig.ensure(NAME, case, Ensure.KEEP)
        assert (await rig.observe(NAME)).status.unit_file_state == "enabled"
        case.unit.enabled = False
        await rig.ensure(NAME, case, Ensure.KEEP)
        assert (await rig.observe(NAME)).status.unit_file_state == "disabled"

    run(body)


def test_a_stopped_unit_is_inactive_and_its_signal_no_failure(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.runs_always(), Ensure.START)
        await rig.until_sub(NAME, "running")
        await rig.ensure(NAME, units.runs_always(), Ensure.STOP)
        seen = await rig.until_sub(NAME, "dead")
        assert (seen.status.active_state, seen.status.result, seen.status.main_pid) == ("inactive", "success", 0)
        assert (seen.status.exit_code, seen.status.exit_status) == (2, 15)

    run(body)


def test_starting_what_runs_changes_nothing_and_restarting_does(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.runs(), Ensure.START)
        first = (await rig.until_sub(NAME, "running")).status.main_pid
        await rig.ensure(NAME, units.runs(), Ensure.START)
        assert (await rig.until_sub(NAME, "running")).status.main_pid == first
        await rig.ensure(NAME, units.runs(), Ensure.RESTART)
        await rig.until(NAME, lambda seen: seen.status.main_pid not in (0, first))

    run(body)


def test_an_action_id_is_carried_out_once(run: Run) -> None:
    async def body(rig: Rig) -> None:
        case = units.runs()
        action_id = await rig.ensure(NAME, case, Ensure.RESTART)
        first = (await rig.until_sub(NAME, "running")).status.main_pid
        again = UnitAction(unit=NAME, ensure=Ensure(spec=case.unit, uid="uid-1", generation=1, run=Ensure.RESTART))
        await rig.apply(again, action_id)
        assert (await rig.observe(NAME)).status.main_pid == first
        await rig.reopen()
        await rig.apply(again, action_id)
        assert (await rig.observe(NAME)).status.main_pid == first

    run(body)


def test_a_crash_is_followed_by_a_restart(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.runs_always(), Ensure.START)
        first = (await rig.until_sub(NAME, "running")).status.main_pid
        await rig.crash(NAME)
        seen = await rig.until(NAME, lambda seen: seen.status.main_pid not in (0, first))
        assert seen.status.restarts == 1
        assert (await rig.until_sub(NAME, "running")).status.result == "success"

    run(body)


def test_a_crash_without_a_restart_policy_stays_failed_with_its_signal(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.runs(), Ensure.START)
        await rig.until_sub(NAME, "running")
        await rig.crash(NAME)
        seen = await rig.until_sub(NAME, "failed")
        assert (seen.status.active_state, seen.status.result) == ("failed", "signal")
        assert (seen.status.exit_code, seen.status.exit_status) == (2, 9)

    run(body)


@pytest.mark.parametrize(("status", "active", "result"), [(0, "inactive", "success"), (3, "failed", "exit-code")])
def test_the_exit_status_is_known(run: Run, status: int, active: str, result: str) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.exits(status), Ensure.START)
        seen = await rig.until(NAME, lambda seen: seen.status.exit_code == 1)
        seen = await rig.until(NAME, lambda seen: seen.status.active_state == active)
        assert (seen.status.result, seen.status.exit_code, seen.status.exit_status) == (result, 1, status)

    run(body)


def test_a_unit_that_ends_while_no_driver_looks_has_its_exit_status_known(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.exits(3), Ensure.START)
        await rig.driver.close()
        await rig.machine.clock.sleep(0.6)
        await rig.reopen()
        seen = await rig.until_sub(NAME, "failed")
        assert (seen.status.exit_code, seen.status.exit_status) == (1, 3)

    run(body)


def test_a_missing_program_ends_as_203(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.missing(), Ensure.START)
        seen = await rig.until_sub(NAME, "failed")
        assert (seen.status.result, seen.status.exit_code, seen.status.exit_status) == ("exit-code", 1, 203)
        assert seen.reason == "exec.start: /nonexistent/program: no such file"

    run(body)


@pytest.mark.parametrize(
    ("case", "status", "reason"),
    [
        (units.of_nobody(), 217, "user: user 'no-such-user' does not exist on this machine"),
        (units.nowhere(), 200, "working_directory: /nonexistent: no such file"),
    ],
    ids=["user", "directory"],
)
def test_a_step_that_fails_before_the_program_is_named(run: Run, case: units.Case, status: int, reason: str) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, case, Ensure.START)
        seen = await rig.until_sub(NAME, "failed")
        assert (seen.status.exit_code, seen.status.exit_status) == (1, status)
        if isinstance(rig.machine, SimMachine):  # it has no files and users: what the status means is all that is known
            assert explain_exit(status).partition(":")[0] == reason.partition(":")[0]
        else:
            assert seen.reason == reason

    run(body)


def test_a_condition_that_does_not_hold_keeps_a_unit_down_without_a_failure(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.conditioned("/nonexistent", holds=False), Ensure.START)
        seen = await rig.until_sub(NAME, "dead")
        assert (seen.status.active_state, seen.status.result, seen.status.main_pid) == ("inactive", "success", 0)
        await rig.ensure(NAME, units.conditioned("/", holds=True), Ensure.START)
        await rig.until_sub(NAME, "running")

    run(body)


def test_too_many_starts_hit_the_limit(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.exits_over_and_over(), Ensure.START)
        seen = await rig.until_sub(NAME, "failed")
        assert seen.status.restarts == 3

    run(body)


def test_starts_that_are_asked_for_have_no_limit(run: Run) -> None:
    """A unit that is changed again and again does not fail by its changes."""

    async def body(rig: Rig) -> None:
        for _ in range(4):
            await rig.ensure(NAME, units.runs_limited(), Ensure.RESTART)
            seen = await rig.until_sub(NAME, "running")
            assert (seen.status.active_state, seen.status.result) == ("active", "success")

    run(body)


def test_a_unit_that_ignores_sigterm_is_killed(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.stubborn(), Ensure.START)
        await rig.until_sub(NAME, "running")
        await rig.machine.clock.sleep(0.3)
        await rig.ensure(NAME, units.stubborn(), Ensure.STOP)
        seen = await rig.until_sub(NAME, "failed")
        assert (seen.status.result, seen.status.exit_code, seen.status.exit_status) == ("timeout", 2, 9)

    run(body)


def test_a_oneshot_stays_active(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.oneshot(), Ensure.START)
        seen = await rig.until_sub(NAME, "exited")
        assert (seen.status.active_state, seen.status.main_pid) == ("active", 0)
        await rig.ensure(NAME, units.oneshot(), Ensure.STOP)
        await rig.until_sub(NAME, "dead")

    run(body)


def test_the_main_process_of_a_forking_unit_is_found(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.forks(), Ensure.START)
        assert (await rig.until_sub(NAME, "running")).status.main_pid
        await rig.crash(NAME)
        assert (await rig.until_sub(NAME, "failed")).status.result == "signal"

    run(body)


def test_the_seeds_example_waits_for_its_restart_with_result_protocol(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.forks_without_pid_file(), Ensure.START)
        seen = await rig.until_sub(NAME, "auto-restart")
        assert (seen.status.active_state, seen.status.result) == ("activating", "protocol")

    run(body)


def test_a_removed_unit_is_down_and_gone(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.runs(), Ensure.START)
        await rig.until_sub(NAME, "running")
        await rig.remove(NAME)
        seen = await rig.until(NAME, lambda seen: not seen.installed)
        assert seen.status.main_pid == 0
        assert await rig.driver.list() == []

    run(body)


def test_a_removal_does_not_wait_for_a_slow_stop(run: Run) -> None:
    """The caller is free again at once, and the unit is gone in the end."""

    async def body(rig: Rig) -> None:
        case = units.stubborn()
        case.unit.service.time.stop_timeout = 6
        await rig.ensure(NAME, case, Ensure.START)
        await rig.until_sub(NAME, "running")
        await rig.machine.clock.sleep(0.3)
        begin_s = rig.machine.clock.monotonic_ns() / 1e9
        removal = UnitAction(unit=NAME, remove=UnitAction.Remove())
        action_id = await rig.apply(removal)
        assert rig.under_way
        assert rig.machine.clock.monotonic_ns() / 1e9 - begin_s < 4
        assert (await rig.observe(NAME)).status.active_state == "deactivating"
        await rig.until(NAME, lambda seen: seen.status.main_pid == 0)
        await rig.apply(removal, action_id)
        assert not rig.under_way
        assert await rig.driver.list() == []

    run(body)


def test_removing_what_is_not_there_is_done_at_once(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.remove("rube-test.absent.service")
        assert await rig.driver.list() == []

    run(body)


def test_a_new_driver_adopts_what_runs(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.runs(), Ensure.START)
        await rig.ensure(OTHER, units.runs(), Ensure.KEEP)
        before = await rig.until_sub(NAME, "running")
        await rig.reopen()
        assert await rig.driver.list() == [NAME, OTHER]
        assert await rig.observe(NAME) == before
        await rig.crash(NAME)
        assert (await rig.until_sub(NAME, "failed")).status.exit_status == 9

    run(body)


def test_changes_lead_to_what_changed(run: Run) -> None:
    async def body(rig: Rig) -> None:
        await rig.ensure(NAME, units.runs(), Ensure.START)
        async with reading_changes(rig) as seen:
            await rig.until(NAME, lambda _: NAME in seen)
            await rig.until_sub(NAME, "running")
            await rig.machine.clock.sleep(0.5)
            seen.clear()
            await rig.crash(NAME)
            await rig.until(NAME, lambda _: NAME in seen)
            seen.clear()
            await rig.ensure(OTHER, units.runs(), Ensure.KEEP)
            await rig.until(NAME, lambda _: OTHER in seen)

    run(body)


def test_what_a_unit_prints_is_read_and_followed(run: Run) -> None:
    async def body(rig: Rig) -> None:
        if not rig.machine.keeps_logs:
            pytest.skip("no journal runs beside this systemd")
        assert await rig.logs(NAME) == [], "an absent unit has printed nothing"
        await rig.ensure(NAME, units.prints("one", "two", "three"), Ensure.START)
        await rig.until_sub(NAME, "running")
        await rig.until_printed(NAME, "three")
        assert (await rig.logs(NAME, lines=2)) == ["two", "three"]
        assert await rig.logs(NAME, lines=0) == []
        following = rig.driver.logs(NAME, LogsRequest(lines=1, follow=True))
        assert not (await anext(following)).lines, "the first response comes at once"
        assert [line.text for line in (await anext(following)).lines] == ["three"]
        await rig.ensure(NAME, units.prints("four"), Ensure.RESTART, generation=2)
        came: list[str] = []
        async with rig.machine.clock.timeout(20):
            while "four" not in came:
                came += [line.text for line in (await anext(following)).lines]
        await following.aclose()  # type: ignore[attr-defined]  # all of them are generators

    run(body)


def test_a_failed_units_status_has_its_last_lines_until_it_runs(run: Run) -> None:
    async def body(rig: Rig) -> None:
        if not rig.machine.keeps_logs:
            pytest.skip("no journal runs beside this systemd")
        await rig.ensure(NAME, units.prints_and_fails("about to fail", "oh no"), Ensure.START)
        seen = await rig.until(NAME, lambda seen: "oh no" in seen.status.log_tail)
        assert seen.status.active_state == "failed"
        assert len(seen.status.log_tail) <= 10
        await rig.ensure(NAME, units.runs(), Ensure.RESTART, generation=2)
        assert not (await rig.until_sub(NAME, "running")).status.log_tail

    run(body)


def test_an_action_that_is_none_of_a_units_is_refused(run: Run) -> None:
    async def body(rig: Rig) -> None:
        action = Action(id="a")
        action.action.Pack(UnitAction(unit=NAME))
        with pytest.raises(InvalidArgumentError, match="UnitAction"):
            await rig.driver.apply(action)

    run(body)


def test_a_unit_that_cannot_be_installed_is_refused_and_nothing_is_left(run: Run) -> None:
    async def body(rig: Rig) -> None:
        case = units.runs()
        case.unit.service.exec.start[0] = "/bin/sleep 1\nUser=root"
        with pytest.raises(InvalidArgumentError, match=r"exec.start\[0\]"):
            await rig.ensure(NAME, case, Ensure.START)
        assert await rig.driver.list() == []

    run(body)
