"""The supervisor's launch plan."""

from __future__ import annotations

import os

import pytest

from rube.api import Service, Unit
from rube.api.times import NS_PER_S
from rube.units.drivers.dbus.bus import UNIT_PATH, escape, unescape
from rube.units.drivers.machine import machine_specifiers
from rube.units.drivers.supervisor.plan import plan_of
from rube.units.service.policy import Policy, StatusSet
from rube.units.service.specifiers import LETTERS

NAME = "rube-system.indexer.service"


def unit_with_start(line: str) -> Unit:
    unit = Unit()
    unit.service.exec.start.append(line)
    return unit


def policy_of(unit: Unit) -> Policy:
    return plan_of(NAME, unit, machine={}).policy


def test_an_empty_definition_has_systemds_defaults() -> None:
    policy = policy_of(unit_with_start("/bin/true"))
    assert policy == Policy(commands={"start": (False,)})
    assert (policy.restart_ns, policy.stop_timeout_ns, policy.start_limit_burst) == (NS_PER_S // 10, 90 * NS_PER_S, 5)


def test_a_oneshot_may_take_its_time() -> None:
    unit = unit_with_start("/bin/true")
    unit.service.type = Service.ONESHOT
    assert policy_of(unit).start_timeout_ns is None


def test_the_particular_timeout_wins_and_zero_means_never() -> None:
    unit = unit_with_start("/bin/true")
    unit.service.time.timeout = 5
    unit.service.time.stop_timeout = 0
    policy = policy_of(unit)
    assert (policy.start_timeout_ns, policy.stop_timeout_ns) == (5 * NS_PER_S, None)


def test_the_whole_policy_is_taken_over() -> None:
    unit = unit_with_start("-/bin/true")
    service = unit.service
    service.restart = Service.ON_ABNORMAL
    service.status.success.extend([2, 1])
    service.status.success_signal.append("SIGUSR1")
    service.kill.mode, service.kill.signal, service.kill.send_sigkill = Service.MIXED, "SIGINT", False
    unit.start_limit.interval, unit.start_limit.burst = float("inf"), 2
    policy = policy_of(unit)
    assert policy.commands == {"start": (True,)}
    assert (policy.restart, policy.success) == ("on-abnormal", StatusSet((1, 2), (10,)))
    assert (policy.kill_mode, policy.kill_signal, policy.send_sigkill) == ("mixed", 2, False)
    assert (policy.start_limit_ns, policy.start_limit_burst) == (2**62, 2)


def test_specifiers_of_the_name_are_replaced_and_others_left() -> None:
    plan = plan_of(NAME, unit_with_start("/bin/echo %n %N %H %% %z 100%"), machine={"H": "worker-1"})
    assert plan.commands["start"] == (("/bin/echo", (NAME, "rube-system.indexer", "worker-1", "%", "%z", "100%"), ""),)


def test_a_relative_pid_file_is_under_run() -> None:
    unit = unit_with_start("/bin/true")
    unit.service.pid_file = "x.pid"
    assert plan_of(NAME, unit, machine={}).pid_file == "/run/x.pid"


def test_every_field_without_effect_is_named() -> None:
    unit = unit_with_start("/bin/true")
    unit.after.append("network.target")
    unit.condition.add(type="PathExists", value="/")
    unit.condition.add(type="Security", value="selinux")
    unit.service.private_tmp = True
    unit.service.standard_output = "socket"
    unit.service.limits.cpu_percent = 10
    assert plan_of(NAME, unit, machine={}).unsupported == (
        "after",
        "condition[1] (Security)",
        "service.limits.cpu_percent",
        "service.private_tmp",
        "service.standard_output",
    )


@pytest.mark.parametrize("unit", [NAME, "a-b_c@d.service", "1.service", "ü.service"])
def test_object_paths_give_back_the_units_name(unit: str) -> None:
    path = UNIT_PATH + escape(unit)
    assert path.removeprefix(UNIT_PATH).replace("_", "").isalnum()
    assert unescape(path) == unit


def test_specifiers_follow_from_the_name_and_the_machine() -> None:
    name = "rube-a.b-c.service"
    words = "%p %P %j %J %f|%i|%I %H %z %"
    (command,) = plan_of(name, unit_with_start(f"/bin/echo {words}"), machine={"H": "host"}).commands["start"]
    assert " ".join(command[1]) == "rube-a.b-c rube/a.b/c c c /rube/a.b/c|| host %z %"


def test_a_machine_says_what_it_is() -> None:
    values = machine_specifiers()
    assert (values["U"], values["v"], values["t"]) == (str(os.getuid()), os.uname().release, "/run")
    assert set(values) <= LETTERS
