"""The restart table of systemd.service(5), and what is a clean end."""

from __future__ import annotations

import pytest

from rube.units.service.policy import (
    CLD_DUMPED,
    CLD_EXITED,
    CLD_KILLED,
    Exit,
    Policy,
    StatusSet,
    result_of,
    shall_restart,
    within_start_limit,
)
from rube.units.service.states import Result

CLEAN, CODE, SIGNAL, CORE = Exit(CLD_EXITED, 0), Exit(CLD_EXITED, 1), Exit(CLD_KILLED, 9), Exit(CLD_DUMPED, 11)
CAUSES = {
    "clean": (Result.SUCCESS, CLEAN),
    "code": (Result.EXIT_CODE, CODE),
    "signal": (Result.SIGNAL, SIGNAL),
    "core": (Result.CORE_DUMP, CORE),
    "timeout": (Result.TIMEOUT, SIGNAL),
    "watchdog": (Result.WATCHDOG, CORE),
    "protocol": (Result.PROTOCOL, None),
    "condition": (Result.EXEC_CONDITION, None),
}
RESTARTED = {
    "no": set(),
    "always": {"clean", "code", "signal", "core", "timeout", "watchdog", "protocol"},
    "on-success": {"clean"},
    "on-failure": {"code", "signal", "core", "timeout", "watchdog", "protocol"},
    "on-abnormal": {"signal", "core", "timeout", "watchdog", "protocol"},
    "on-abort": {"signal", "core"},
    "on-watchdog": {"watchdog"},
}


@pytest.mark.parametrize("cause", sorted(CAUSES))
@pytest.mark.parametrize("restart", sorted(RESTARTED))
def test_the_restart_table(restart: str, cause: str) -> None:
    result, exit = CAUSES[cause]
    assert shall_restart(Policy(restart=restart), result, exit) == (cause in RESTARTED[restart])


def test_prevented_and_forced_statuses_overrule_the_table() -> None:
    policy = Policy(restart="always", prevent_restart=StatusSet((66,), (9,)))
    assert not shall_restart(policy, Result.EXIT_CODE, Exit(CLD_EXITED, 66))
    assert not shall_restart(policy, Result.SIGNAL, SIGNAL)
    assert shall_restart(policy, Result.EXIT_CODE, Exit(CLD_EXITED, 9))
    assert shall_restart(Policy(force_restart=StatusSet((3,))), Result.EXIT_CODE, Exit(CLD_EXITED, 3))


@pytest.mark.parametrize(
    ("exit", "daemon", "oneshot"),
    [
        (CLEAN, Result.SUCCESS, Result.SUCCESS),
        (CODE, Result.EXIT_CODE, Result.EXIT_CODE),
        (Exit(CLD_EXITED, 7), Result.SUCCESS, Result.SUCCESS),
        (Exit(CLD_KILLED, 15), Result.SUCCESS, Result.SIGNAL),
        (Exit(CLD_KILLED, 1), Result.SUCCESS, Result.SIGNAL),
        (Exit(CLD_KILLED, 12), Result.SUCCESS, Result.SUCCESS),
        (SIGNAL, Result.SIGNAL, Result.SIGNAL),
        (CORE, Result.CORE_DUMP, Result.CORE_DUMP),
    ],
)
def test_what_an_end_means(exit: Exit, daemon: Result, oneshot: Result) -> None:
    success = StatusSet((7,), (12,))
    assert result_of(exit, Policy(success=success)) is daemon
    assert result_of(exit, Policy(type="oneshot", success=success)) is oneshot


def test_the_start_limit_forgets_what_is_older_than_its_interval() -> None:
    policy = Policy(start_limit_ns=100, start_limit_burst=2)
    starts = [0, 50]
    assert not within_start_limit(policy, starts, 99)
    assert within_start_limit(policy, starts, 100)
    assert starts == [50]
    assert within_start_limit(Policy(start_limit_ns=0), [0] * 100, 0)
