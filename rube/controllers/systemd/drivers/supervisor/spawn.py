"""Starts one command of a unit: fork, set up what systemd.exec(5) promises, exec. Exit codes as systemd's."""

from __future__ import annotations

import os
import resource
import signal
from dataclasses import dataclass
from typing import Any, NoReturn

from rube.controllers.systemd.drivers.environment_files import read_environment_files
from rube.controllers.systemd.drivers.programs import why_not_executable
from rube.controllers.systemd.service.commandline import CommandLine
from rube.controllers.systemd.service.exit_codes import (
    EXIT_CHDIR,
    EXIT_EXEC,
    EXIT_FDS,
    EXIT_GROUP,
    EXIT_LIMITS,
    EXIT_NICE,
    EXIT_STDERR,
    EXIT_STDIN,
    EXIT_STDOUT,
    EXIT_USER,
)

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LIMITS = {
    "open_files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "core_bytes": resource.RLIMIT_CORE,
    "locked_memory_bytes": resource.RLIMIT_MEMLOCK,
}


@dataclass(frozen=True)
class Spawned:
    """A started process; `error` is set if it could not execute its program and is ending."""

    pid: int
    error: str


class _SetupError(Exception):
    def __init__(self, exit_code: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def spawn(plan: dict[str, Any], command: CommandLine, environment: dict[str, str], log: str) -> Spawned:
    """Starts the command in a session of its own and returns once it runs its program or has failed to.

    `environment` is the unit's; variables in the command line are replaced from it. Raises OSError if there is no
    process to be had.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(plan, command, environment, log, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        error = pipe.read(4096)
    return Spawned(pid, error.decode(errors="replace"))


def environment_of(plan: dict[str, Any]) -> dict[str, str]:
    """The environment that the definition gives: defaults, then its variables, then its files.

    Raises OSError for a file that cannot be read and is not marked optional with `-`.
    """
    environment = {"PATH": SEARCH_PATH, "LANG": "C.UTF-8"}
    environment.update(plan["environment"])
    environment.update(read_environment_files(plan["environment_files"]).variables)
    return environment


def _child(plan: dict[str, Any], command: CommandLine, environment: dict[str, str], log: str, pipe: int) -> NoReturn:
    """In the new process: never returns, never runs its parent's code."""
    exit_code = EXIT_FDS
    try:
        os.setsid()
        _prepare(plan, environment, log, privileged=command.keeps_privileges)
        exit_code = EXIT_EXEC
        environment["SYSTEMD_EXEC_PID"] = str(os.getpid())
        if "NOTIFY_SOCKET" in environment and "WATCHDOG_USEC" in environment:
            environment["WATCHDOG_PID"] = str(os.getpid())
        os.execve(_find(command.program), command.argv(environment), environment)
    except _SetupError as error:
        exit_code, text = error.exit_code, str(error)
    except (OSError, ValueError, KeyError) as error:
        text = why_not_executable(command.program) if "/" in command.program else ""
        text = text or f"{command.program}: {getattr(error, 'strerror', None) or error}"
    try:
        os.write(pipe, text.encode(errors="replace")[:4000])
    finally:
        os._exit(exit_code)


def _find(program: str) -> str:
    if "/" in program:
        return program
    for directory in SEARCH_PATH.split(":"):
        path = f"{directory}/{program}"
        if os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(2, f"not found in {SEARCH_PATH}")


def _prepare(plan: dict[str, Any], environment: dict[str, str], log: str, *, privileged: bool) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _redirect(0, plan["standard_input"] or "null", log, EXIT_STDIN)
    output = plan["standard_output"] or "log"
    _redirect(1, output, log, EXIT_STDOUT)
    error = plan["standard_error"] or "inherit"
    if error == "inherit":
        os.dup2(1, 2)
    else:
        _redirect(2, error, log, EXIT_STDERR)
    os.umask(plan["umask"])
    if plan["nice"] is not None:
        _step(EXIT_NICE, "nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, plan["nice"]))
    for name, value in sorted(plan["limits"].items()):
        _step(EXIT_LIMITS, f"limits.{name}", lambda name=name, value=value: _limit(_LIMITS[name], value))
    _identify(plan, environment, privileged)
    directory = plan["working_directory"]
    if directory:
        optional = directory.startswith("-")
        path = directory.removeprefix("-")
        path = environment.get("HOME", "/") if path == "~" else path
        try:
            os.chdir(path)
        except OSError as failure:
            if not optional:
                raise _SetupError(EXIT_CHDIR, f"working_directory {path}: {failure.strerror}") from failure
            os.chdir("/")
    else:
        os.chdir("/")


def _limit(which: int, value: int) -> None:
    capped = resource.RLIM_INFINITY if value > 2**62 else value
    resource.setrlimit(which, (capped, capped))


def _step(exit_code: int, what: str, action: Any) -> None:
    try:
        action()
    except (OSError, ValueError) as error:
        raise _SetupError(exit_code, f"{what}: {getattr(error, 'strerror', None) or error}") from error


def _redirect(descriptor: int, where: str, log: str, exit_code: int) -> None:
    kind, _, path = where.partition(":")
    flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT
    if kind == "null":
        path = "/dev/null"
    elif kind == "log":
        path, flags = log, flags | os.O_APPEND
    elif kind == "append":
        flags |= os.O_APPEND
    elif kind == "truncate":
        flags |= os.O_TRUNC
    try:
        opened = os.open(path, flags, 0o640)
        os.dup2(opened, descriptor)
        os.close(opened)
    except OSError as error:
        raise _SetupError(exit_code, f"{path}: {error.strerror}") from error


def _identify(plan: dict[str, Any], environment: dict[str, str], privileged: bool) -> None:
    user, group = plan["user"], plan["group"]
    if not (user or group):
        return
    import grp
    import pwd

    gid = os.getgid()
    if user:
        try:
            entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        except KeyError as error:
            raise _SetupError(EXIT_USER, f"user {user} does not exist on this machine") from error
        gid = entry.pw_gid
        own = {"HOME": entry.pw_dir, "LOGNAME": entry.pw_name, "USER": entry.pw_name, "SHELL": entry.pw_shell}
        for name, value in own.items():
            environment.setdefault(name, value)
    if group:
        try:
            gid = grp.getgrgid(int(group)).gr_gid if group.isdigit() else grp.getgrnam(group).gr_gid
        except KeyError as error:
            raise _SetupError(EXIT_GROUP, f"group {group} does not exist on this machine") from error
    if privileged:
        return
    names = (lambda: os.initgroups(entry.pw_name, gid)) if user else (lambda: os.setgroups([gid]))
    if os.getuid() == 0:
        _step(EXIT_GROUP, "supplementary groups", names)
    _step(EXIT_GROUP, f"group {gid}", lambda: os.setgid(gid))
    if user:
        _step(EXIT_USER, f"user {user}", lambda: os.setuid(entry.pw_uid))
