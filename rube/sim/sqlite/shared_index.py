"""The index of a write-ahead log that connections share, which apsw lets no VFS in Python have.

SQLite keeps it in memory that all connections to a file map (https://www.sqlite.org/walformat.html section 2). apsw
gives files of Python the first version of `sqlite3_io_methods`, without shared memory; so an open file is given the
second, with apsw's own functions and four more (https://www.sqlite.org/c3ref/io_methods.html).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import apsw

_OK = apsw.SQLITE_OK
_BUSY = apsw.SQLITE_BUSY
_SLOTS = 8


class _Methods(ctypes.Structure):
    """`sqlite3_io_methods`, version 2."""

    _fields_ = [
        ("version", ctypes.c_int),
        ("first", ctypes.c_void_p * 12),
        ("map", ctypes.c_void_p),
        ("lock", ctypes.c_void_p),
        ("barrier", ctypes.c_void_p),
        ("unmap", ctypes.c_void_p),
    ]


class _File(ctypes.Structure):
    """`sqlite3_file`."""

    _fields_ = [("methods", ctypes.POINTER(_Methods))]


class SharedIndex:
    """The state that connections to one file share: memory, and locks on eight slots of it."""

    def __init__(self) -> None:
        self._regions: list[ctypes.Array[ctypes.c_char]] = []
        self._users: list[IndexUser] = []

    def content(self) -> bytes:
        """The memory, as the file beside the database would show it."""
        return b"".join(region.raw for region in self._regions)

    @property
    def in_use(self) -> bool:
        return any(user.alive() for user in self._users)

    def join(self, user: IndexUser) -> None:
        self._users = [other for other in self._users if other.alive()]
        self._users.append(user)

    def leave(self, user: IndexUser) -> None:
        if user in self._users:
            self._users.remove(user)

    def region(self, number: int, size_bytes: int, extend: bool) -> int:
        """The address of a region; 0 if it is not there, and not to be made."""
        while extend and len(self._regions) <= number:
            self._regions.append(ctypes.create_string_buffer(size_bytes))
        return ctypes.addressof(self._regions[number]) if number < len(self._regions) else 0

    def others(self, user: IndexUser) -> list[IndexUser]:
        return [other for other in self._users if other is not user and other.alive()]


class IndexUser:
    """One connection's part in a shared index."""

    def __init__(self, index: SharedIndex, alive: Callable[[], bool], forget: Callable[[], None]) -> None:
        self._index = index
        self.alive = alive
        # Called when the index is deleted.
        self._forget = forget
        self.shared = 0
        self.exclusive = 0
        index.join(self)

    def region(self, number: int, size_bytes: int, extend: bool) -> int:
        return self._index.region(number, size_bytes, extend)

    def lock(self, first: int, count: int, flags: int) -> int:
        """Returns SQLITE_BUSY if another connection holds a conflicting lock."""
        mask = (1 << first + count) - (1 << first)
        if flags & apsw.SQLITE_SHM_UNLOCK:
            self.shared &= ~mask
            self.exclusive &= ~mask
            return _OK
        if not self.alive():
            return _BUSY
        others = self._index.others(self)
        if any(other.exclusive & mask for other in others):
            return _BUSY
        if flags & apsw.SQLITE_SHM_SHARED:
            self.shared |= mask
            return _OK
        if any(other.shared & mask for other in others):
            return _BUSY
        self.exclusive |= mask
        return _OK

    def leave(self, delete: bool) -> None:
        if delete and self.alive():
            self._forget()
        self._index.leave(self)


# By the address of their `sqlite3_file`.
_users: dict[int, IndexUser] = {}
# By the address of the methods that they extend. Never freed: SQLite may hold any of them.
_extended: dict[int, _Methods] = {}


def share_index(connection: apsw.Connection, user: IndexUser) -> None:
    """Lets the connection, which has not looked at its file yet, use a write-ahead log."""
    pointer = ctypes.c_void_p()
    connection.file_control("main", apsw.SQLITE_FCNTL_FILE_POINTER, ctypes.addressof(pointer))
    assert pointer.value is not None, "the connection has a file"
    file = _File.from_address(pointer.value)
    given = ctypes.addressof(file.methods.contents)
    if given not in _extended:
        methods = _extended[given] = _Methods()
        ctypes.memmove(ctypes.addressof(methods), given, _Methods.map.offset)
        methods.version = 2
        for name, function in zip(("map", "lock", "barrier", "unmap"), _FUNCTIONS, strict=True):
            setattr(methods, name, ctypes.cast(function, ctypes.c_void_p))
    file.methods = ctypes.pointer(_extended[given])
    _users[pointer.value] = user


# A function of the VFS that failed leaves its exception set while SQLite cleans up and so calls these functions, and no
# Python function may return so, or do much. SQLite has the result code, and apsw raises what that says.
_drop_error = ctypes.pythonapi.PyErr_Clear

# What went wrong in the functions themselves, which can raise nothing through SQLite.
_failures: list[Exception] = []


def raise_failure() -> None:
    """Raises what went wrong in a call of SQLite's, if anything: a defect of this module."""
    if _failures:
        failure = _failures[0]
        _failures.clear()
        raise failure


def _told(function: Callable[..., int]) -> Callable[..., int]:
    """Tells SQLite of an exception, which ctypes would answer with 0: that all is well."""

    def called(*arguments: Any) -> int:
        _drop_error()
        try:
            return function(*arguments)
        except Exception as failure:
            _failures.append(failure)
            return apsw.SQLITE_IOERR

    return called


def _map(file: int, number: int, size_bytes: int, extend: int, found: Any) -> int:
    found[0] = _users[file].region(number, size_bytes, bool(extend)) or None
    return _OK


def _lock(file: int, first: int, count: int, flags: int) -> int:
    return _users[file].lock(first, count, flags)


def _barrier(file: int) -> None:
    """Does nothing: a world has one thread."""
    _drop_error()


def _unmap(file: int, delete: int) -> int:
    _users.pop(file).leave(bool(delete))
    return _OK


_int, _address = ctypes.c_int, ctypes.c_void_p
_FUNCTIONS = (
    ctypes.CFUNCTYPE(_int, _address, _int, _int, _int, ctypes.POINTER(_address))(_told(_map)),
    ctypes.CFUNCTYPE(_int, _address, _int, _int, _int)(_told(_lock)),
    ctypes.CFUNCTYPE(None, _address)(_barrier),
    ctypes.CFUNCTYPE(_int, _address, _int)(_told(_unmap)),
)
