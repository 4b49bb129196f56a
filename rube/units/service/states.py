"""The states of a service and their names in systemd (src/core/service.c, unit.c)."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """A service's state; the value is its SubState."""

    DEAD = "dead"
    CONDITION = "condition"
    START_PRE = "start-pre"
    START = "start"
    START_POST = "start-post"
    RUNNING = "running"
    EXITED = "exited"
    STOP = "stop"
    STOP_WATCHDOG = "stop-watchdog"
    STOP_SIGTERM = "stop-sigterm"
    STOP_SIGKILL = "stop-sigkill"
    STOP_POST = "stop-post"
    FINAL_SIGTERM = "final-sigterm"
    FINAL_SIGKILL = "final-sigkill"
    FAILED = "failed"
    AUTO_RESTART = "auto-restart"


class Result(Enum):
    """The reason of a service's end; the value is systemd's Result property."""

    SUCCESS = "success"
    RESOURCES = "resources"
    PROTOCOL = "protocol"
    TIMEOUT = "timeout"
    EXIT_CODE = "exit-code"
    SIGNAL = "signal"
    CORE_DUMP = "core-dump"
    WATCHDOG = "watchdog"
    START_LIMIT_HIT = "start-limit-hit"
    EXEC_CONDITION = "exec-condition"
    SUPERVISOR_LOST = "supervisor-lost"
    """Not one of systemd's, which has no shims that can be killed."""


ACTIVE_STATES = {
    State.DEAD: "inactive",
    State.CONDITION: "activating",
    State.START_PRE: "activating",
    State.START: "activating",
    State.START_POST: "activating",
    State.RUNNING: "active",
    State.EXITED: "active",
    State.STOP: "deactivating",
    State.STOP_WATCHDOG: "deactivating",
    State.STOP_SIGTERM: "deactivating",
    State.STOP_SIGKILL: "deactivating",
    State.STOP_POST: "deactivating",
    State.FINAL_SIGTERM: "deactivating",
    State.FINAL_SIGKILL: "deactivating",
    State.FAILED: "failed",
    State.AUTO_RESTART: "activating",
}
"""The ActiveState (systemd's word) of each state."""

RESTING = frozenset({State.DEAD, State.FAILED})
"""Nothing runs and nothing is going to by itself."""

IDLE = RESTING | {State.AUTO_RESTART}
"""No process of the service is meant to run."""

STARTING = frozenset({State.CONDITION, State.START_PRE, State.START, State.START_POST})
STOPPING = frozenset(
    {
        State.STOP,
        State.STOP_WATCHDOG,
        State.STOP_SIGTERM,
        State.STOP_SIGKILL,
        State.STOP_POST,
        State.FINAL_SIGTERM,
        State.FINAL_SIGKILL,
    }
)
