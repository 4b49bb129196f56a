"""The records in the files of driver and shim, one class for each file. Shims outlive rubelets: either may be of any
release.

A field has a default, which a file without it means, and never gets another meaning: so either side can read the files
of an older or a newer one. Only the field KEY is required. FORMAT grows when that is impossible; a file with a higher
one than this release knows is refused (`files`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from rube.units.service.policy import Policy
from rube.units.service.states import RESTING, Result, State

FORMAT = 2
"""1, which Rube 0.1 wrote without saying so: `StateRecord.boot_id` was the kernel's boot_id alone."""
LOST_VARIABLE = "RUBE_LOST"
"""In a shim's environment: processes of the unit run, though no state of it is written down."""


@dataclass(frozen=True, kw_only=True)
class StartCondition:
    """`type` without `Condition` or `Assert`, such as `PathExists`; `value` with its `|` and `!`."""

    type: str = ""
    value: str = ""
    is_assert: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The part of a definition that the shim needs: specifiers are replaced, command lines parsed."""

    policy: Policy = field(default_factory=Policy)
    commands: dict[str, tuple[tuple[str, tuple[str, ...], str], ...]] = field(default_factory=dict)
    """For each Exec list its commands: program, arguments, prefixes."""
    conditions: tuple[StartCondition, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    environment_files: tuple[str, ...] = ()
    notify: str = "none"
    """From whom notifications are taken: `none`, `main`, `exec`, `all`."""
    umask: int = 0o022
    nice: int | None = None
    no_new_privileges: bool = False
    limits: dict[str, int] = field(default_factory=dict)
    pid_file: str = ""
    user: str = ""
    group: str = ""
    working_directory: str = ""
    standard_input: str = ""
    standard_output: str = ""
    standard_error: str = ""
    unsupported: tuple[str, ...] = ()
    """The fields that have no effect here."""
    specifiers: tuple[str, ...] = ()
    """The specifiers that stay as they are, with their fields."""


@dataclass(frozen=True, kw_only=True)
class UnitRecord:
    """unit.json: the definition, and the last action carried out. Written by the driver."""

    NAME: ClassVar[str] = "unit.json"
    KEY: ClassVar[str] = "uid"
    format: int = FORMAT
    uid: str = ""
    generation: int = 0
    digest: str = ""
    enabled: bool = False
    plan: Plan = field(default_factory=Plan)
    action_id: str = ""


@dataclass(frozen=True, kw_only=True)
class RequestRecord:
    """request.json: the driver's request to the shim. Written by the driver."""

    NAME: ClassVar[str] = "request.json"
    KEY: ClassVar[str] = "id"
    format: int = FORMAT
    id: str = ""
    verb: str = ""
    """`start`, `restart` or `stop`."""


@dataclass(frozen=True, kw_only=True)
class StateRecord:
    """state.json: the state of the service. Written by the shim."""

    NAME: ClassVar[str] = "state.json"
    KEY: ClassVar[str] = "boot_id"
    format: int = FORMAT
    boot_id: str = ""
    shim: tuple[int, int] = (0, 0)
    """Pid and start time of the writer."""
    state: State = State.DEAD
    result: Result = Result.SUCCESS
    main_pid: int = 0
    processes: tuple[tuple[int, int], ...] = ()
    """Pid and start time of the main and the control process, as far as they live."""
    exit: tuple[int, int] | None = None
    """How the last main process ended: waitid's code, and exit status or signal."""
    restarts: int = 0
    starts_ns: tuple[int, ...] = ()
    forbid_restart: bool = False
    start_pending: bool = False
    loading: bool = False
    """A start has begun, and its first process may or may not be there."""
    active_ns: int = 0
    invocation: str = ""
    request_id: str = ""
    """The id of the last request that was taken."""
    digest: str = ""
    message: str = ""
    notes: tuple[str, ...] = ()
    """Deviations from the definition."""
    withstanding: str = ""
    """The processes that cannot be stopped, and why."""

    @property
    def rests(self) -> bool:
        """True if the shim has nothing left to do, and may be gone."""
        return self.state in RESTING


Record = UnitRecord | RequestRecord | StateRecord
