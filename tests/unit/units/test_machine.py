"""The service's state machine, driven by hand, and a Hypothesis machine that drives it any which way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rube.units.service.effects import Effect, FindMain, Kill, Load, Spawn
from rube.units.service.machine import ServiceMachine
from rube.units.service.policy import CLD_EXITED, CLD_KILLED, Exit, Policy
from rube.units.service.states import RESTING, Result, State

CLEAN, FAILED = Exit(CLD_EXITED, 0), Exit(CLD_EXITED, 1)
SEC = 1_000_000_000
START: dict[str, tuple[bool, ...]] = {"start": (False,)}


def started(policy: Policy) -> tuple[ServiceMachine, list[Effect]]:
    machine = ServiceMachine(policy)
    assert machine.start(0) == [Load()]
    return machine, machine.loaded(policy, 0)


def test_a_simple_service_runs_as_soon_as_it_is_spawned() -> None:
    machine, effects = started(Policy(commands=START))
    assert effects == [Spawn(True, "start", 0)]
    assert machine.state is State.RUNNING


def test_the_commands_before_and_after_run_in_order() -> None:
    commands: dict[str, tuple[bool, ...]] = dict.fromkeys(
        ("condition", "start_pre", "start", "start_post", "stop", "stop_post"), (False,)
    )
    machine, effects = started(Policy(commands=commands))
    order = [effects]
    for expected in (State.CONDITION, State.START_PRE, State.START_POST):
        assert machine.state is expected
        order.append(machine.control_ended(CLEAN, 1))
    assert machine.state is State.RUNNING
    order.append(machine.stop(2))
    order.append(machine.control_ended(CLEAN, 3))
    assert machine.state is State.STOP_SIGTERM
    order.append(machine.main_ended(Exit(CLD_KILLED, 15), 4))
    order.append(machine.control_ended(CLEAN, 5))
    assert machine.state is State.DEAD
    spawned = [effect.list for effects in order for effect in effects if isinstance(effect, Spawn)]
    assert spawned == ["condition", "start_pre", "start", "start_post", "stop", "stop_post"]


def test_a_condition_that_is_not_met_skips_without_failing() -> None:
    machine, _ = started(Policy(commands={"condition": (False,), **START}, restart="always"))
    machine.control_ended(FAILED, 1)
    assert (machine.state, machine.result) == (State.DEAD, Result.EXEC_CONDITION)


def test_a_failing_start_pre_fails_the_unit_unless_its_failure_is_ignored() -> None:
    machine, _ = started(Policy(commands={"start_pre": (False,), **START}))
    machine.control_ended(FAILED, 1)
    assert (machine.state, machine.result) == (State.FAILED, Result.EXIT_CODE)
    machine, _ = started(Policy(commands={"start_pre": (True,), **START}))
    machine.control_ended(FAILED, 1)
    assert machine.state is State.RUNNING


def test_a_oneshot_runs_its_commands_one_after_the_other() -> None:
    policy = Policy(type="oneshot", commands={"start": (False, False)}, remain_after_exit=True)
    machine, _ = started(policy)
    assert machine.main_ended(CLEAN, 1) == [Spawn(True, "start", 1)]
    machine.main_ended(CLEAN, 2)
    assert machine.state is State.EXITED
    machine.stop(3)
    assert machine.state is State.DEAD


def test_a_forking_service_without_its_pid_file_violates_the_protocol() -> None:
    machine, _ = started(Policy(type="forking", commands=START, has_pid_file=True, restart="on-failure"))
    assert machine.control_ended(CLEAN, 1) == [FindMain()]
    machine.main_missing(1)
    assert (machine.state, machine.result) == (State.AUTO_RESTART, Result.PROTOCOL)


def test_a_pid_file_is_awaited_while_something_runs() -> None:
    machine, _ = started(Policy(type="forking", commands=START, has_pid_file=True, start_timeout_ns=SEC))
    machine.others = True
    machine.control_ended(CLEAN, 1)
    machine.main_missing(1)
    assert (machine.state, machine.awaits_pid_file) == (State.START, True)
    waiting = machine.deadline_ns
    machine.main_found(2)
    assert (machine.state, waiting) == (State.RUNNING, SEC)


def test_a_start_that_takes_too_long_is_ended() -> None:
    machine, _ = started(Policy(type="notify", commands=START, start_timeout_ns=SEC))
    assert machine.tick(SEC - 1) == []
    assert machine.tick(SEC) == [Kill(15, rest=True)]
    machine.main_ended(Exit(CLD_KILLED, 15), SEC + 1)
    assert (machine.state, machine.result) == (State.FAILED, Result.TIMEOUT)


def test_a_notifying_service_is_up_when_it_says_so() -> None:
    machine, _ = started(Policy(type="notify", commands=START))
    assert machine.state is State.START
    machine.ready(1)
    assert machine.state is State.RUNNING


def test_what_ignores_sigterm_is_killed_and_has_timed_out() -> None:
    machine, _ = started(Policy(commands=START, stop_timeout_ns=SEC))
    assert machine.stop(0) == [Kill(15, rest=True)]
    assert machine.tick(SEC) == [Kill(9, rest=True)]
    machine.main_ended(Exit(CLD_KILLED, 9), SEC + 1)
    assert (machine.state, machine.result) == (State.FAILED, Result.TIMEOUT)


def test_a_silent_service_is_aborted_by_its_watchdog_and_one_that_speaks_is_not() -> None:
    machine, _ = started(Policy(commands=START, watchdog_ns=SEC))
    machine.alive(SEC // 2)
    assert machine.tick(SEC) == []
    assert machine.tick(SEC + SEC // 2) == [Kill(6, rest=True)]
    assert machine.result is Result.WATCHDOG


def test_the_runtime_limit_ends_a_service_as_a_timeout() -> None:
    machine, _ = started(Policy(commands=START, runtime_ns=SEC))
    machine.tick(SEC)
    machine.main_ended(Exit(CLD_KILLED, 15), SEC + 1)
    assert (machine.state, machine.result) == (State.FAILED, Result.TIMEOUT)


def test_restarts_are_counted_and_limited() -> None:
    policy = Policy(commands=START, restart="always", restart_ns=1, start_limit_burst=3)
    machine, _ = started(policy)
    for now in range(2, 10):
        machine.main_ended(FAILED, now)
        if machine.tick(now + 1) == [Load()]:
            machine.loaded(policy, now + 1)
        if machine.state is State.FAILED:
            break
    assert (machine.state, machine.result, machine.restarts) == (State.FAILED, Result.START_LIMIT_HIT, 3)


def test_a_stop_during_the_pause_before_a_restart_ends_it() -> None:
    machine, _ = started(Policy(commands=START, restart="always"))
    machine.main_ended(FAILED, 1)
    assert machine.state is State.AUTO_RESTART
    machine.stop(2)
    assert (machine.state, machine.deadline_ns) == (State.DEAD, None)


def test_a_restart_stops_first_and_takes_the_new_definition() -> None:
    old, new = Policy(commands=START), Policy(commands=START, runtime_ns=7)
    machine, _ = started(old)
    assert machine.restart(1) == [Kill(15, rest=True)]
    assert machine.main_ended(Exit(CLD_KILLED, 15), 2) == [Load()]
    machine.loaded(new, 2)
    assert (machine.state, machine.policy) == (State.RUNNING, new)


def test_only_the_main_process_is_signalled_in_kill_mode_process() -> None:
    machine, _ = started(Policy(commands=START, kill_mode="process"))
    machine.others = True
    assert machine.stop(1) == [Kill(15, rest=False)]
    machine.main_ended(Exit(CLD_KILLED, 15), 2)
    assert machine.state is State.DEAD


def test_the_rest_is_killed_at_once_in_kill_mode_mixed() -> None:
    machine, _ = started(Policy(commands=START, kill_mode="mixed"))
    machine.others = True
    assert machine.stop(1) == [Kill(15, rest=False)]
    assert machine.main_ended(Exit(CLD_KILLED, 15), 2) == [Kill(9, rest=True)]
    machine.others = False
    machine.emptied(3)
    assert machine.state is State.DEAD


_EXITS = st.sampled_from([CLEAN, FAILED, Exit(CLD_KILLED, 15), Exit(CLD_KILLED, 9), Exit(CLD_EXITED, 66)])
_LISTS = ("condition", "start_pre", "start_post", "stop", "stop_post")


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Any definition, with small times."""
    commands: dict[str, tuple[bool, ...]] = {"start": (draw(st.booleans()),)}
    for name in _LISTS:
        if draw(st.booleans()):
            commands[name] = tuple(draw(st.lists(st.booleans(), min_size=1, max_size=2)))
    return Policy(
        type=draw(st.sampled_from(["simple", "exec", "forking", "oneshot", "notify"])),
        commands=commands,
        remain_after_exit=draw(st.booleans()),
        has_pid_file=draw(st.booleans()),
        guess_main_pid=draw(st.booleans()),
        restart=draw(st.sampled_from(["no", "always", "on-failure", "on-success", "on-watchdog"])),
        restart_ns=5,
        start_timeout_ns=draw(st.sampled_from([None, 10])),
        stop_timeout_ns=10,
        runtime_ns=draw(st.sampled_from([None, 20])),
        watchdog_ns=draw(st.sampled_from([None, 15])),
        start_limit_ns=draw(st.sampled_from([0, 50])),
        kill_mode=draw(st.sampled_from(["control-group", "mixed", "process", "none"])),
        send_sigkill=draw(st.booleans()),
    )


class AnyService(RuleBasedStateMachine):
    """Processes live, fork, end and ignore signals as Hypothesis likes; no event meets a hole in the tables."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = Policy()
        self.machine = ServiceMachine(self.policy)
        self.now = 0
        self.main = self.control = False
        self.others = 0

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            self.machine.others = self.others > 0
            if isinstance(effect, Load):
                self.main = self.control = False
                self.carry_out(self.machine.loaded(self.policy, self.now))
            elif isinstance(effect, Spawn) and effect.main:
                assert not self.main
                self.main = True
            elif isinstance(effect, Spawn):
                self.others += self.control  # one that outlived its time is abandoned, as systemd does
                self.control = True
            elif isinstance(effect, FindMain) and self.others and not self.main:
                self.others -= 1
                self.main = True
                self.machine.others = self.others > 0
                self.carry_out(self.machine.main_found(self.now))
            elif isinstance(effect, FindMain):
                self.carry_out(self.machine.main_missing(self.now))
        self.machine.others = self.others > 0
        if self.machine.state in RESTING or self.machine.state is State.AUTO_RESTART:
            self.main = self.control = False

    @rule(policy=policies())
    def redefine(self, policy: Policy) -> None:
        self.policy = policy

    @rule(verb=st.sampled_from(["start", "stop", "restart"]))
    def request(self, verb: str) -> None:
        self.carry_out(getattr(self.machine, verb)(self.now))

    @rule()
    def the_owner_is_replaced(self) -> None:
        old, machine = self.machine, ServiceMachine(self.policy)
        for field in ("result", "main_exit", "restarts", "starts_ns", "forbid_restart", "start_pending"):
            setattr(machine, field, getattr(old, field))
        killed = self.main or self.control or self.others > 0
        self.main = self.control = False
        self.others = 0
        self.machine = machine
        self.carry_out(machine.supervision_lost(old.state, killed=killed, now_ns=self.now))
        if old.forbid_restart and not old.start_pending:
            assert machine.state in {*RESTING, old.state, State.STOP_POST}, "what was stopped is not started"

    @precondition(lambda self: self.main)
    @rule(exit=_EXITS)
    def main_ends(self, exit: Exit) -> None:
        self.main = False
        self.carry_out(self.machine.main_ended(exit, self.now))

    @precondition(lambda self: self.control)
    @rule(exit=_EXITS, leaves=st.integers(0, 2))
    def control_ends(self, exit: Exit, leaves: int) -> None:
        self.control = False
        self.others += leaves
        self.machine.others = self.others > 0
        self.carry_out(self.machine.control_ended(exit, self.now))

    @precondition(lambda self: self.others)
    @rule()
    def others_end(self) -> None:
        self.others = 0
        self.machine.others = False
        if not (self.main or self.control):
            self.carry_out(self.machine.emptied(self.now))

    @rule(says=st.sampled_from(["ready", "alive", "executed"]))
    def service_speaks(self, says: str) -> None:
        self.carry_out(getattr(self.machine, says)(self.now))

    @rule(withstands=st.booleans())
    def its_processes_are_anothers(self, withstands: bool) -> None:
        self.machine.withstands = withstands

    @rule(delay=st.integers(0, 12))
    def time_passes(self, delay: int) -> None:
        self.now += delay
        self.carry_out(self.machine.tick(self.now))

    @invariant()
    def a_resting_service_waits_for_nothing(self) -> None:
        if self.machine.state in RESTING:
            assert self.machine.deadline_ns is None
            assert not self.machine.main_alive
            assert (self.machine.state is State.FAILED) == (
                self.machine.result not in (Result.SUCCESS, Result.EXEC_CONDITION)
            ) or self.machine.state is State.DEAD

    @invariant()
    def what_lives_is_known(self) -> None:
        assert self.machine.main_alive == self.main
        assert self.machine.control_alive == self.control

    def teardown(self) -> None:
        """A stopped service comes to rest once its processes are gone, whatever state it is in."""
        self.carry_out(self.machine.stop(self.now))
        for _ in range(50):
            if self.machine.state in RESTING:
                return
            self.machine.withstands = False
            self.others = 0
            self.machine.others = False
            if self.main:
                self.main_ends(CLEAN)
            elif self.control:
                self.control_ends(CLEAN, 0)
            else:
                self.carry_out(self.machine.emptied(self.now))
                self.time_passes(12)
        raise AssertionError(f"never comes to rest: {self.machine.state}")


AnyService.TestCase.settings = settings(
    max_examples=100, stateful_step_count=30, phases=[Phase.explicit, Phase.generate]
)
TestAnyService = AnyService.TestCase


def test_a_policy_replaced_during_a_run_takes_effect_at_the_next_start() -> None:
    policy = Policy(commands=START, restart="always", restart_ns=1)
    machine, _ = started(policy)
    machine.main_ended(FAILED, 1)
    assert machine.tick(2) == [Load()]
    machine.loaded(replace(policy, type="notify"), 2)
    assert machine.state is State.START


@pytest.mark.parametrize(
    ("last", "killed", "next_state", "result"),
    [
        (State.RUNNING, True, State.AUTO_RESTART, Result.SUPERVISOR_LOST),
        (State.RUNNING, False, State.AUTO_RESTART, Result.SUPERVISOR_LOST),
        (State.START, True, State.AUTO_RESTART, Result.SUPERVISOR_LOST),
        (State.EXITED, False, State.EXITED, Result.SUCCESS),
        (State.EXITED, True, State.AUTO_RESTART, Result.SUPERVISOR_LOST),
        (State.AUTO_RESTART, False, State.AUTO_RESTART, Result.SUCCESS),
        (State.DEAD, False, State.DEAD, Result.SUCCESS),
    ],
)
def test_a_lost_supervisor_is_judged_by_the_restart_policy(
    last: State, killed: bool, next_state: State, result: Result
) -> None:
    machine = ServiceMachine(Policy(commands=START, restart="on-abort", restart_ns=7))
    assert machine.supervision_lost(last, killed=killed, now_ns=10) == []
    assert (machine.state, machine.result) == (next_state, result)
    assert machine.deadline_ns == (17 if next_state is State.AUTO_RESTART else None)


@pytest.mark.parametrize("send_sigkill", [True, False])
def test_nothing_is_started_beside_a_process_that_may_not_be_signalled(send_sigkill: bool) -> None:
    policy = Policy(commands=START, stop_timeout_ns=10, send_sigkill=send_sigkill)
    machine, _ = started(policy)
    machine.restart(0)
    machine.withstands = True
    for turn in range(1, 10):
        effects = machine.tick(turn * 10)
        assert all(isinstance(effect, Kill) for effect in effects)
    last = State.FINAL_SIGKILL if send_sigkill else State.FINAL_SIGTERM
    assert (machine.state, machine.start_pending) == (last, True)
    assert effects, "it may be allowed by now, and is tried again"
    assert machine.main_ended(CLEAN, 91) == [Load()]


def test_a_process_left_running_may_end_while_the_next_start_is_awaited() -> None:
    policy = Policy(
        commands=START, type="notify", kill_mode="none", restart="always", restart_ns=100, start_timeout_ns=5
    )
    machine, _ = started(policy)
    machine.tick(5)
    assert machine.state is State.AUTO_RESTART
    assert machine.main_ended(Exit(CLD_KILLED, 9), 6) == []
    assert machine.control_ended(CLEAN, 6) == []
    assert machine.state is State.AUTO_RESTART
