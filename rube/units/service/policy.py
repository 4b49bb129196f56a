"""The state machine's part of a definition, and the decisions that are tables. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from rube.api.times import NS_PER_S
from rube.units.service.states import Result

CLD_EXITED, CLD_KILLED, CLD_DUMPED = 1, 2, 3
SIGHUP, SIGINT, SIGABRT, SIGKILL, SIGPIPE, SIGTERM, SIGCONT = 1, 2, 6, 9, 13, 15, 18

_CLEAN_SIGNALS = frozenset({SIGHUP, SIGINT, SIGPIPE, SIGTERM})
# systemd.service(5), table 2, and service_shall_restart() for what the table leaves out. A lost supervisor counts as a
# main process that was killed.
_RESTARTS: dict[str, frozenset[Result]] = {
    "no": frozenset(),
    "on-success": frozenset({Result.SUCCESS}),
    "on-failure": frozenset(Result) - {Result.SUCCESS, Result.EXEC_CONDITION},
    "on-abnormal": frozenset(Result) - {Result.SUCCESS, Result.EXEC_CONDITION, Result.EXIT_CODE},
    "on-abort": frozenset({Result.SIGNAL, Result.CORE_DUMP, Result.SUPERVISOR_LOST}),
    "on-watchdog": frozenset({Result.WATCHDOG}),
    "always": frozenset(Result) - {Result.EXEC_CONDITION},
}


@dataclass(frozen=True, order=True)
class Exit:
    """The end of a process: waitid's si_code (CLD_EXITED, CLD_KILLED, CLD_DUMPED) and exit status or signal."""

    code: int
    status: int


@dataclass(frozen=True)
class StatusSet:
    """A list of exit codes and signal numbers."""

    codes: tuple[int, ...] = ()
    signals: tuple[int, ...] = ()

    def __contains__(self, exit: object) -> bool:
        if not isinstance(exit, Exit):
            return False
        return exit.status in (self.codes if exit.code == CLD_EXITED else self.signals)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A service's definition without its commands' text. Times in nanoseconds; None is never."""

    type: str = "simple"
    commands: dict[str, tuple[bool, ...]] = field(default_factory=dict)
    """For each Exec list (`start`, `start_pre`, …) a flag for each command: whether its failure is ignored."""
    remain_after_exit: bool = False
    has_pid_file: bool = False
    guess_main_pid: bool = True
    restart: str = "no"
    restart_ns: int = 100_000_000
    start_timeout_ns: int | None = 90 * NS_PER_S
    stop_timeout_ns: int | None = 90 * NS_PER_S
    runtime_ns: int | None = None
    watchdog_ns: int | None = None
    start_limit_ns: int = 10 * NS_PER_S
    start_limit_burst: int = 5
    success: StatusSet = StatusSet()
    prevent_restart: StatusSet = StatusSet()
    force_restart: StatusSet = StatusSet()
    kill_mode: str = "control-group"
    kill_signal: int = SIGTERM
    send_sigkill: bool = True
    send_sighup: bool = False


def result_of(exit: Exit, policy: Policy) -> Result:
    """Returns the meaning of a process's end. A oneshot is a command, for which no signal is a clean end; a daemon has
    four."""
    if exit in policy.success or (exit.code == CLD_EXITED and exit.status == 0):
        return Result.SUCCESS
    if exit.code == CLD_EXITED:
        return Result.EXIT_CODE
    if exit.code == CLD_DUMPED:
        return Result.CORE_DUMP
    if policy.type != "oneshot" and exit.status in _CLEAN_SIGNALS:
        return Result.SUCCESS
    return Result.SIGNAL


def shall_restart(policy: Policy, result: Result, main_exit: Exit | None) -> bool:
    """Returns whether a service that ended by itself is started again (systemd.service(5), Restart=)."""
    if main_exit is not None and main_exit in policy.prevent_restart:
        return False
    if main_exit is not None and main_exit in policy.force_restart:
        return True
    return result in _RESTARTS[policy.restart]


def within_start_limit(policy: Policy, starts_ns: list[int], now_ns: int) -> bool:
    """Returns whether one more start is allowed; `starts_ns` are the earlier ones, and are pruned here."""
    if policy.start_limit_ns <= 0 or policy.start_limit_burst <= 0:
        starts_ns.clear()
        return True
    starts_ns[:] = [start for start in starts_ns if now_ns - start < policy.start_limit_ns]
    return len(starts_ns) < policy.start_limit_burst
