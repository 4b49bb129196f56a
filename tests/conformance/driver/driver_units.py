"""The units of the drivers' suite: each as a definition, for real processes, and as behaviour in a simulation."""

from __future__ import annotations

from dataclasses import dataclass, field

from rube.api import Service, Unit
from rube.sim.units.unit import Behaviour
from rube.units.service.policy import CLD_EXITED, Exit


@dataclass(frozen=True)
class Case:
    """A unit, and the deeds of its processes in a simulation."""

    unit: Unit
    behaviour: Behaviour = field(default_factory=Behaviour)


def _unit(start: str, service_type: Service.Type.ValueType = Service.SIMPLE) -> Unit:
    unit = Unit(description="a unit of the drivers' conformance suite")
    unit.service.type = service_type
    unit.service.exec.start.append(start)
    unit.service.time.restart = 0.1
    unit.service.time.timeout = 10
    return unit


def runs() -> Case:
    """Runs until it is stopped."""
    return Case(_unit("/bin/sleep 1000"))


def runs_always() -> Case:
    """A unit as `runs`, which is restarted when it fails."""
    case = runs()
    case.unit.service.restart = Service.ON_FAILURE
    return case


def exits(status: int) -> Case:
    """Ends after a moment."""
    unit = _unit(f"/bin/sh -c 'sleep 0.2; exit {status}'")
    return Case(unit, Behaviour(exits_after_s=0.2, exit=Exit(CLD_EXITED, status)))


def exits_over_and_over() -> Case:
    """Fails at once and is always restarted, until the limit."""
    unit = _unit("/bin/false")
    unit.service.restart = Service.ALWAYS
    unit.start_limit.burst, unit.start_limit.interval = 3, 30
    return Case(unit, Behaviour(exits_after_s=0.01, exit=Exit(CLD_EXITED, 1)))


def runs_limited() -> Case:
    """A unit as `runs`, which may start twice in half a minute."""
    case = runs()
    case.unit.start_limit.burst, case.unit.start_limit.interval = 2, 30
    return case


def missing() -> Case:
    """Its program does not exist."""
    return Case(_unit("/nonexistent/program"), Behaviour(exits_after_s=0, exit=Exit(CLD_EXITED, 203)))


def of_nobody() -> Case:
    """Its user does not exist."""
    unit = _unit("/bin/sleep 1000", Service.EXEC)
    unit.service.user = "no-such-user"
    return Case(unit, Behaviour(exits_after_s=0, exit=Exit(CLD_EXITED, 217)))


def nowhere() -> Case:
    """Its working directory does not exist."""
    unit = _unit("/bin/sleep 1000", Service.EXEC)
    unit.service.working_directory = "/nonexistent"
    return Case(unit, Behaviour(exits_after_s=0, exit=Exit(CLD_EXITED, 200)))


def stubborn() -> Case:
    """Ignores SIGTERM."""
    unit = _unit("/bin/sh -c 'trap \"\" TERM; while :; do sleep 1; done'")
    unit.service.time.stop_timeout = 0.3
    return Case(unit, Behaviour(ignores_sigterm=True))


def oneshot() -> Case:
    """Does its work and stays active."""
    unit = _unit("/bin/true", Service.ONESHOT)
    unit.service.remain_after_exit = True
    return Case(unit)


def forks_without_pid_file() -> Case:
    """The seed's example: it leaves no process and no PID file."""
    unit = _unit('/bin/echo "Hey You!"', Service.FORKING)
    unit.service.pid_file = "/blablabla/pid"
    unit.service.restart = Service.ON_FAILURE
    unit.service.time.restart = 60
    unit.service.status.success.extend([0, 1, 2])
    unit.service.status.prevent_restart.append(66)
    return Case(unit, Behaviour(leaves_daemon=False))


def forks() -> Case:
    """Leaves a process behind, which becomes the main process."""
    return Case(_unit("/bin/sh -c 'sleep 1000 & exit 0'", Service.FORKING))


def prints(*lines: str) -> Case:
    """Prints, and runs until it is stopped."""
    script = "; ".join(f"echo {line}" for line in lines)
    return Case(_unit(f"/bin/sh -c '{script}; exec sleep 1000'"), Behaviour(prints=lines))


def prints_and_fails(*lines: str) -> Case:
    """Prints, and ends with a failure."""
    script = "; ".join(f"echo {line}" for line in lines)
    behaviour = Behaviour(prints=lines, exits_after_s=0.1, exit=Exit(CLD_EXITED, 3))
    return Case(_unit(f"/bin/sh -c '{script}; exit 3'"), behaviour)


def conditioned(path: str, *, holds: bool) -> Case:
    """A unit as `runs_always`, if `path` exists; `holds` says whether it does on the machine."""
    case = runs_always()
    case.unit.service.restart = Service.ALWAYS
    case.unit.condition.add(type="PathExists", value=path)
    unmet = "" if holds else f"not started: the condition ConditionPathExists={path} does not hold"
    return Case(case.unit, Behaviour(unmet=unmet))
