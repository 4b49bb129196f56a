"""The check whether a unit has a shim, and which processes are a unit's: files are a record, this is the truth.

A shim holds two locks as long as it lives, and the kernel lets go of both when it dies: flock(2) on `lock` in the
unit's directory, and a name in the abstract socket space, which is made of the directory's path. The second stays when
the directory is removed. Every user may take a name there, so a name alone counts only if a process of this user
runs the shim's program on this directory. The unit's own processes carry UNIT_VARIABLE in their environment.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import time  # noqa: TID251 (an adapter)
import zlib

from rube.units.drivers.supervisor import files, processes

EXIT_LOCKED = 75
"""The exit status of a shim that finds another one alive (EX_TEMPFAIL)."""
SHIM_COMM, CHILD_COMM = "rube-shim", "rube-exec"
"""The name in `ps -o comm` of a shim, and of what it has forked until that executes the unit's program."""
COMM_FILE = "/proc/self/comm"
UNIT_VARIABLE = "RUBE_UNIT"
"""Holds the path of the unit's directory."""
LOCK_WAIT_S_MAX = 1.0
LOCK_POLL_S = 0.01
PATH_BYTES = 60


class Presence:
    """The locks of a shim, held until the process ends."""

    def __init__(self, directory: str, lock: int, name: _socket.socket) -> None:
        self._directory = directory
        self._lock = lock
        self._name = name

    @property
    def is_written_down(self) -> bool:
        """True if the locked file is still the one in the directory."""
        try:
            return os.path.samestat(os.fstat(self._lock), os.stat(os.path.join(self._directory, files.LOCK)))
        except OSError:
            return False

    def write_down(self) -> None:
        """Locks the directory's present file as well, and makes it if need be. Raises OSError."""
        lock = _open_lock(self._directory)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(self._lock)
        self._lock = lock


def take(directory: str) -> Presence | None:
    """Makes this process the unit's shim. Returns None if another one is, even after a while: it may be about to
    end."""
    call_myself(SHIM_COMM)
    lock = _open_lock(directory)
    until = time.monotonic() + LOCK_WAIT_S_MAX
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            name = None
        else:
            name = _take_name(directory)
            if name is not None:
                return Presence(directory, lock, name)
            fcntl.flock(lock, fcntl.LOCK_UN)
        if time.monotonic() > until:
            os.close(lock)
            return None
        time.sleep(LOCK_POLL_S)


def call_myself(comm: str) -> None:
    """Sets this process's name in the table of processes."""
    with open(COMM_FILE, "w") as file:
        file.write(comm)


def is_alive(directory: str) -> bool:
    """Returns whether the unit has a shim, even if its files are gone."""
    return _is_locked(directory) or (_is_named(directory) and find(directory) is not None)


def find(directory: str) -> tuple[int, int] | None:
    """Returns pid and start time of the unit's shim, from the table of processes."""
    return _shims(os.path.dirname(directory)).get(os.path.basename(directory))


def names_below(units: str) -> set[str]:
    """Returns the units in the directory `units`, present or removed, that have a shim or processes."""
    prefix = f"{UNIT_VARIABLE}={units}/".encode()
    return set(_shims(units)) | {
        os.fsdecode(value[len(prefix) :]) for values in processes.environments(prefix).values() for value in values
    }


def _shims(units: str) -> dict[str, tuple[int, int]]:
    """Returns the other shims of all units in a directory. One that runs as another user is not Rube's."""
    found: dict[str, tuple[int, int]] = {}
    for pid in processes.pids():
        process = processes.stat(pid)
        if process is None or process.comm != SHIM_COMM or process.session != pid or pid == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            mine = os.stat(f"/proc/{pid}").st_uid == os.geteuid()
        except OSError:
            continue
        directory = os.fsdecode(words[-2]) if len(words) > 2 else ""
        if mine and process.living and os.path.dirname(directory) == units:
            found[os.path.basename(directory)] = (pid, process.started)
    return found


def _open_lock(directory: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    return os.open(os.path.join(directory, files.LOCK), flags, files.FILE_MODE)


def _is_locked(directory: str) -> bool:
    """Tries a shared lock, on a handle that only reads: closing it wakes no watcher of the directory."""
    try:
        handle = os.open(os.path.join(directory, files.LOCK), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def _take_name(directory: str) -> _socket.socket | None:
    """Binds the unit's name; None if a shim has it. If another process has it, flock alone has to do."""
    name = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        name.bind(_name_of(directory))
    except OSError as error:
        if error.errno == errno.EADDRINUSE and find(directory) is not None:
            name.close()
            return None
    return name


def _is_named(directory: str) -> bool:
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        probe.connect(_name_of(directory))
    except OSError as error:
        return error.errno != errno.ECONNREFUSED
    finally:
        probe.close()
    return True


def _name_of(directory: str) -> bytes:
    """Returns the unit's name. Machines in containers may share the space of names: the PID namespace and the root make
    the name unique."""
    root, path = os.stat("/"), os.fsencode(directory)
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    number = zlib.crc32(b"%d/%d/%d/%s" % (namespace, root.st_dev, root.st_ino, path))
    return b"\0rube/shim/%08x%s" % (number, path[-PATH_BYTES:])
