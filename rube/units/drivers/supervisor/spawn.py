"""Starts one command of a unit: fork, set up what systemd.exec(5) promises, exec. Exit codes as systemd's.

Nothing here waits: what can hang (a FIFO as standard output, an environment file on a file system that is away) hangs
in the new process, which can be killed. It reports through a pipe, which ends when the program runs.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from rube.units.drivers.environment_files import read_environment_files
from rube.units.drivers.programs import error_words, missing_group, missing_user, why_not_executable
from rube.units.drivers.supervisor import attributes, presence, privileges
from rube.units.drivers.supervisor.records import Plan
from rube.units.service.commandline import CommandLine
from rube.units.service.exit_codes import (
    EXIT_CAPABILITIES,
    EXIT_CHDIR,
    EXIT_EXEC,
    EXIT_FDS,
    EXIT_GROUP,
    EXIT_LIMITS,
    EXIT_NICE,
    EXIT_NO_NEW_PRIVILEGES,
    EXIT_STDERR,
    EXIT_STDIN,
    EXIT_STDOUT,
    EXIT_USER,
)

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
REPORT_BYTES_MAX = 4096
OPEN_FILES_MAX = 2**31 - 1
EXIT_RESOURCES = 1
"""The exit status of a process that reports RESOURCES: systemd fails with `resources` before there is a process."""
FAILED, PROGRAM, RESOURCES, NOTE = b"!", b"=", b"?", b"~"
"""The beginnings of the lines of a report."""
LIMITS = {
    "open_files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "core_bytes": resource.RLIMIT_CORE,
    "locked_memory_bytes": resource.RLIMIT_MEMLOCK,
}


@dataclass(frozen=True, kw_only=True)
class SpawnReport:
    """A process's report before it ran its program: `error`, if it did not get that far, and notes."""

    error: str = ""
    is_program: bool = False
    """It is the program that could not be executed; else a step before it, and `error` begins with the step's field."""
    is_resources: bool = False
    """It is systemd's result `resources`."""
    notes: tuple[str, ...] = ()


class Spawned:
    """A started process, which may not have executed its program yet."""

    def __init__(self, pid: int, handle: int) -> None:
        self.pid = pid
        self.handle = handle
        """Readable when there is news; closed with the report."""
        self._said = b""

    def report(self, *, ended: bool = False) -> SpawnReport | None:
        """Returns the report, if the process has run its program, failed to, or `ended`; else None."""
        while True:
            try:
                data = os.read(self.handle, REPORT_BYTES_MAX)
            except BlockingIOError:
                if ended:
                    break
                return None
            if not data:
                break
            self._said += data
        os.close(self.handle)
        lines = self._said.split(b"\n")
        texts = {mark: [line[1:].decode(errors="replace") for line in lines if line[:1] == mark] for mark in _MARKS}
        return SpawnReport(
            error="; ".join(texts[FAILED] + texts[PROGRAM] + texts[RESOURCES]),
            is_program=bool(texts[PROGRAM]),
            is_resources=bool(texts[RESOURCES]),
            notes=tuple(texts[NOTE]),
        )


_MARKS = (FAILED, PROGRAM, RESOURCES, NOTE)


class _SetupError(Exception):
    def __init__(self, exit_code: int, text: str, mark: bytes = FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.mark = mark


def spawn(plan: Plan, command: CommandLine, environment: dict[str, str], output: int) -> Spawned:
    """Starts the command in a session of its own.

    `environment` overrides the definition's; `output` is the handle of the unit's log. Raises OSError if no process can
    be started.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    # No signal handler of this process shall run in the new one.
    before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _child(plan, command, environment, output, writer)
    except OSError:
        os.close(reader)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writer)
    return Spawned(pid, reader)


def _child(plan: Plan, command: CommandLine, environment: dict[str, str], output: int, report: int) -> NoReturn:
    """Runs in the new process: never returns, never runs its parent's code, even after an error."""
    exit_code = EXIT_FDS
    try:
        try:
            _run(plan, command, environment, output, report)
        except _SetupError as error:
            exit_code = error.exit_code
            _say(report, error.mark, str(error))
        except BaseException as error:
            _say(report, PROGRAM, f"{command.program}: {getattr(error, 'strerror', None) or error!r}")
    finally:
        os._exit(exit_code)


def _run(plan: Plan, command: CommandLine, environment: dict[str, str], output: int, report: int) -> NoReturn:
    presence.call_myself(presence.CHILD_COMM)
    signal.set_wakeup_fd(-1)
    attributes.reset_signals(ignored=frozenset({signal.SIGPIPE}))
    os.setsid()
    _close_all_but(output, report)
    attributes.set_units(plan.umask)
    _open_streams(plan, output)
    environment = {**_environment_of(plan, report), **environment}
    identity = _identity_of(plan, environment)
    _apply_limits(plan, report)
    if not command.keeps_privileges:
        _become(identity)
    _enter_directory(plan.working_directory, environment)
    _drop_privileges(plan, command)
    environment["SYSTEMD_EXEC_PID"] = str(os.getpid())
    if "NOTIFY_SOCKET" in environment and "WATCHDOG_USEC" in environment:
        environment["WATCHDOG_PID"] = str(os.getpid())
    try:
        os.execve(_find(command.program), command.argv(environment), environment)
    except (OSError, ValueError) as error:
        why = why_not_executable(command.program) if "/" in command.program else ""
        why = why or f"{command.program}: {getattr(error, 'strerror', None) or error}"
        raise _SetupError(EXIT_EXEC, why, PROGRAM) from error


def _say(report: int, mark: bytes, text: str) -> None:
    os.write(report, mark + text.replace("\n", " ").encode(errors="replace")[: REPORT_BYTES_MAX // 4] + b"\n")


def _find(program: str) -> str:
    if "/" in program:
        return program
    for directory in SEARCH_PATH.split(":"):
        path = f"{directory}/{program}"
        if os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(2, f"not found in {SEARCH_PATH}")


def _close_all_but(*kept: int) -> None:
    """Closes the shim's locks and pipes: a process that hangs before its program must not hold them."""
    first = 3
    for handle in sorted(kept):
        os.closerange(first, handle)
        first = handle + 1
    os.closerange(first, OPEN_FILES_MAX)


def _open_streams(plan: Plan, output: int) -> None:
    _redirect(0, plan.standard_input or "null", output, EXIT_STDIN)
    _redirect(1, plan.standard_output or "log", output, EXIT_STDOUT)
    error = plan.standard_error or "inherit"
    if error == "inherit":
        os.dup2(1, 2)
    else:
        _redirect(2, error, output, EXIT_STDERR)
    if output > 2:
        os.close(output)


def _environment_of(plan: Plan, report: int) -> dict[str, str]:
    """Returns the definition's environment: defaults, then its variables, then its files."""
    environment = {"PATH": SEARCH_PATH, "LANG": "C.UTF-8", **plan.environment}
    try:
        found = read_environment_files(plan.environment_files)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise _SetupError(EXIT_RESOURCES, f"environment_file: {where}{error_words(error)}", RESOURCES) from error
    if found.ignored:
        _say(report, NOTE, f"ignored in environment_file: {', '.join(found.ignored)}")
    return environment | found.variables


def _apply_limits(plan: Plan, report: int) -> None:
    if plan.nice is not None:
        nice = plan.nice
        _step(EXIT_NICE, "nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, nice))
    for name, value in sorted(plan.limits.items()):
        try:
            lowered = attributes.lower_to_fit(LIMITS[name], value)
        except (OSError, ValueError) as error:
            raise _SetupError(EXIT_LIMITS, f"limits.{name}: {getattr(error, 'strerror', None) or error}") from error
        if lowered is not None:
            _say(report, NOTE, f"limits.{name} is lowered from {value} to {lowered}, this machine's hard limit")


def _step(exit_code: int, what: str, action: Callable[[], object]) -> None:
    try:
        action()
    except (OSError, ValueError) as error:
        raise _SetupError(exit_code, f"{what}: {getattr(error, 'strerror', None) or error}") from error


def _redirect(descriptor: int, where: str, output: int, exit_code: int) -> None:
    kind, _, path = where.partition(":")
    if kind == "log":
        os.dup2(output, descriptor)
        return
    flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT
    if kind == "null":
        path = "/dev/null"
    elif kind == "append":
        flags |= os.O_APPEND
    elif kind == "truncate":
        flags |= os.O_TRUNC
    try:
        opened = os.open(path, flags | os.O_NOCTTY, 0o640)
        os.dup2(opened, descriptor)
        os.close(opened)
    except OSError as error:
        field = ("standard_input", "standard_output", "standard_error")[descriptor]
        raise _SetupError(exit_code, f"{field}: {path}: {error_words(error)}") from error


@dataclass(frozen=True, kw_only=True)
class _Identity:
    """The user and groups that a process gets; None: its parent's."""

    user: pwd.struct_passwd | None
    gid: int | None
    groups: tuple[int, ...] = ()


def _identity_of(plan: Plan, environment: dict[str, str]) -> _Identity:
    """Looks up the identity while files may still be opened; adds the user's variables to the environment."""
    user, group = None, None
    if plan.user:
        try:
            user = pwd.getpwuid(int(plan.user)) if plan.user.isdigit() else pwd.getpwnam(plan.user)
        except KeyError as error:
            raise _SetupError(EXIT_USER, f"user: {missing_user(plan.user)}") from error
        group = user.pw_gid
        own = {"HOME": user.pw_dir, "LOGNAME": user.pw_name, "USER": user.pw_name, "SHELL": user.pw_shell}
        for name, value in own.items():
            environment.setdefault(name, value)
    if plan.group:
        try:
            group = (grp.getgrgid(int(plan.group)) if plan.group.isdigit() else grp.getgrnam(plan.group)).gr_gid
        except KeyError as error:
            raise _SetupError(EXIT_GROUP, f"group: {missing_group(plan.group)}") from error
    if group is None:
        return _Identity(user=None, gid=None)
    groups = os.getgrouplist(user.pw_name, group) if user else [group]
    return _Identity(user=user, gid=group, groups=tuple(groups))


def _become(identity: _Identity) -> None:
    user, gid = identity.user, identity.gid
    if gid is None:
        if os.getuid() == 0:
            with contextlib.suppress(PermissionError):  # a user namespace may forbid it, to its root, too
                os.setgroups([])  # it had those of the shell that started the rubelet
        return
    if os.getuid() == 0:
        _give_output(user.pw_uid if user else 0, gid)
        _step(EXIT_GROUP, "supplementary groups", lambda: os.setgroups(identity.groups))
    _step(EXIT_GROUP, f"group {gid}", lambda: os.setgid(gid))
    if user:
        _step(EXIT_USER, f"user {user.pw_name}", lambda: os.setuid(user.pw_uid))


def _drop_privileges(plan: Plan, command: CommandLine) -> None:
    if not command.keeps_privileges:
        rights = partial(privileges.drop_capabilities, all_of_them=os.getuid() != 0)
        _step(EXIT_CAPABILITIES, "capabilities", rights)
    if plan.no_new_privileges and "+" not in command.prefixes:
        _step(EXIT_NO_NEW_PRIVILEGES, "no_new_privileges", privileges.gain_no_more)


def _give_output(uid: int, gid: int) -> None:
    """Gives the pipe to the user, so that opening /dev/stdout works."""
    for descriptor in (1, 2):
        try:
            if os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")).startswith("pipe:"):
                os.fchown(descriptor, uid, gid)
        except OSError:
            continue


def _enter_directory(directory: str, environment: dict[str, str]) -> None:
    path = directory.removeprefix("-") or "/"
    path = environment.get("HOME", "/") if path == "~" else path
    try:
        os.chdir(path)
    except OSError as failure:
        if not directory.startswith("-"):
            raise _SetupError(EXIT_CHDIR, f"working_directory: {path}: {error_words(failure)}") from failure
        os.chdir("/")
