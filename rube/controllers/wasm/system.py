"""The functions that a module may call: `rube.log`, and the names of WASI preview 1 that languages' runtimes need.

Nothing of the machine shows. The clock is that of the State, and moves by a microsecond with each look; random bytes
follow from the key and the object's revision; there are no arguments, no environment, and no files but the two standard
outputs, which are the log.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import wasmtime

from rube.controllers.wasm.limits import MIB

_LOG = logging.getLogger("rube.controllers.wasm")
WASI: Final = "wasi_snapshot_preview1"
LOG_BYTES_MAX: Final = 64 * 1024
"""So much of a call's log is kept."""
_LEVELS: Final = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
_TICK_NS: Final = 1000
_PASSED_NS_MAX: Final = 1 << 60
# The host's work counts as instructions: what a call of Python takes, and each byte.
CALL_FUEL: Final = 20_000
_BYTE_FUEL: Final = 4
# Of the log's bound, each line takes so much beside its text.
_LINE_BYTES: Final = 64
# Errors of WASI preview 1.
_OK, _BAD_FILE, _INVALID, _NO_SUCH_CALL = 0, 8, 28, 52
_REALTIME: Final = 0
_STDOUT, _STDERR = 1, 2
_CHARACTER_DEVICE: Final = 2
_SUBSCRIPTION: Final = struct.Struct("<QB7xI4xQQH6x")
_EVENT: Final = struct.Struct("<QHB21x")
_ABSOLUTE: Final = 1


class ExitError(Exception):
    """A module ended itself (proc_exit)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"it ended itself with code {code}")


class PointerError(Exception):
    """A module gave a pointer that is not in its memory."""


class System:
    """The system that one call of a module sees; `begin` starts another one."""

    def __init__(self) -> None:
        self.begin("", 0, b"", lambda _fuel: None)

    def begin(self, name: str, now_ns: int, seed: bytes, burn: Callable[[int], None]) -> None:
        """`name` is the controller's, for its log; `now_ns` is the time since 1970; `burn` uses up fuel."""
        self._name = name
        self._burn = burn
        self._now_ns = now_ns
        self._passed_ns = 0
        self._seed = seed
        self._drawn = 0
        self._logged = 0
        self._lines = {_STDOUT: b"", _STDERR: b""}

    def end(self) -> None:
        """Logs what was written without an end of line."""
        for descriptor, line in self._lines.items():
            if line:
                self._write_log(_level_of(descriptor), line)

    def functions(self) -> Mapping[tuple[str, str], tuple[str, Callable[..., Any]]]:
        """Returns what can be imported, by module and name: the types of the parameters (i: i32, I: i64), and a
        function that gets the caller before them and returns an error's number, or nothing."""
        return {
            ("rube", "log"): ("iii", self._log),
            (WASI, "args_get"): ("ii", _nothing),
            (WASI, "args_sizes_get"): ("ii", _no_sizes),
            (WASI, "clock_res_get"): ("ii", self._resolution),
            (WASI, "clock_time_get"): ("iIi", self._time),
            (WASI, "environ_get"): ("ii", _nothing),
            (WASI, "environ_sizes_get"): ("ii", _no_sizes),
            (WASI, "fd_close"): ("i", _nothing),
            (WASI, "fd_fdstat_get"): ("ii", self._file_state),
            (WASI, "fd_fdstat_set_flags"): ("ii", _nothing),
            (WASI, "fd_prestat_get"): ("ii", _no_file),
            (WASI, "fd_prestat_dir_name"): ("iii", _no_file),
            (WASI, "fd_read"): ("iiii", self._read),
            (WASI, "fd_write"): ("iiii", self._write),
            (WASI, "poll_oneoff"): ("iiii", self._poll),
            (WASI, "proc_exit"): ("i", _exit),
            (WASI, "random_get"): ("ii", self._random),
            (WASI, "sched_yield"): ("", _nothing),
        }

    def _log(self, caller: wasmtime.Caller, level: int, start: int, size: int) -> None:
        self._write_log(_LEVELS[max(0, min(level, len(_LEVELS) - 1))], self._text_at(caller, start, size))

    def _text_at(self, caller: wasmtime.Caller, start: int, size: int) -> bytes:
        """Returns so much of a text as the log still takes."""
        size &= 0xFFFFFFFF
        self._burn(size * _BYTE_FUEL)
        return _bytes_at(caller, start, min(size, max(0, LOG_BYTES_MAX - self._logged)))

    def _write_log(self, level: int, line: bytes) -> None:
        left = LOG_BYTES_MAX - self._logged
        self._logged += len(line) + _LINE_BYTES
        if left > 0:
            _LOG.log(level, "%s: %s", self._name, line[:left].decode(errors="replace"))

    def _resolution(self, caller: wasmtime.Caller, _clock: int, result: int) -> int:
        _set_bytes(caller, result, struct.pack("<Q", _TICK_NS))
        return _OK

    def _time(self, caller: wasmtime.Caller, clock: int, _precision: int, result: int) -> int:
        self._passed_ns += _TICK_NS
        _set_bytes(caller, result, struct.pack("<Q", self._clock_ns(clock)))
        return _OK

    def _clock_ns(self, clock: int) -> int:
        return self._passed_ns + (self._now_ns if clock == _REALTIME else 0)

    def _file_state(self, caller: wasmtime.Caller, descriptor: int, result: int) -> int:
        if not 0 <= descriptor <= _STDERR:
            return _BAD_FILE
        _set_bytes(caller, result, struct.pack("<B23x", _CHARACTER_DEVICE))
        return _OK

    def _read(self, caller: wasmtime.Caller, descriptor: int, _vectors: int, _count: int, result: int) -> int:
        """The standard input is empty."""
        if descriptor != 0:
            return _BAD_FILE
        _set_bytes(caller, result, struct.pack("<I", 0))
        return _OK

    def _write(self, caller: wasmtime.Caller, descriptor: int, vectors: int, count: int, result: int) -> int:
        if descriptor not in self._lines:
            return _BAD_FILE
        written = 0
        for index in range(count & 0xFFFF):
            start, size = struct.unpack("<II", _bytes_at(caller, vectors + 8 * index, 8))
            self._add_text(descriptor, self._text_at(caller, start, size))
            written += size
        _set_bytes(caller, result, struct.pack("<I", written & 0xFFFFFFFF))
        return _OK

    def _add_text(self, descriptor: int, text: bytes) -> None:
        *lines, rest = (self._lines[descriptor] + text).split(b"\n")
        for line in lines:
            self._write_log(_level_of(descriptor), line)
        self._lines[descriptor] = rest[:LOG_BYTES_MAX]

    def _poll(self, caller: wasmtime.Caller, wanted: int, happened: int, count: int, result: int) -> int:
        """Sleeping takes no time: the clock is moved to the first of the wanted instants."""
        if not 0 < count <= 64:
            return _INVALID
        sleeps = []
        for index in range(count):
            raw = _bytes_at(caller, wanted + _SUBSCRIPTION.size * index, _SUBSCRIPTION.size)
            data, kind, clock, timeout, _, flags = _SUBSCRIPTION.unpack(raw)
            left = 0
            if kind == 0:
                left = max(0, timeout - self._clock_ns(clock)) if flags & _ABSOLUTE else timeout
            sleeps.append((left, index, data, kind))
        left, _, data, kind = min(sleeps)
        self._passed_ns = min(self._passed_ns + left, _PASSED_NS_MAX)
        _set_bytes(caller, happened, _EVENT.pack(data, _OK, kind))
        _set_bytes(caller, result, struct.pack("<I", 1))
        return _OK

    def _random(self, caller: wasmtime.Caller, start: int, size: int) -> int:
        size &= 0xFFFFFFFF
        if size > MIB:
            return _INVALID
        self._burn(size * _BYTE_FUEL)
        drawn = hashlib.shake_256(self._seed + struct.pack("<Q", self._drawn)).digest(size)
        self._drawn += 1
        _set_bytes(caller, start, drawn)
        return _OK

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a function that is called in the same way, and first uses up the fuel of a call."""

        def call(caller: wasmtime.Caller, *arguments: int) -> Any:
            self._burn(CALL_FUEL)
            return function(caller, *arguments)

        return call


def missing(_caller: wasmtime.Caller, *_arguments: int) -> int:
    """Answers in place of functions that WASI names and a controller has no use for, such as those of sockets."""
    return _NO_SUCH_CALL


def _level_of(descriptor: int) -> int:
    return logging.INFO if descriptor == _STDOUT else logging.WARNING


def _nothing(_caller: wasmtime.Caller, *_arguments: int) -> int:
    return _OK


def _no_file(_caller: wasmtime.Caller, *_arguments: int) -> int:
    return _BAD_FILE


def _no_sizes(caller: wasmtime.Caller, count: int, size: int) -> int:
    for place in (count, size):
        _set_bytes(caller, place, struct.pack("<I", 0))
    return _OK


def _exit(_caller: wasmtime.Caller, code: int) -> None:
    raise ExitError(code)


def _memory(caller: wasmtime.Caller) -> wasmtime.Memory:
    memory = caller["memory"]
    assert isinstance(memory, wasmtime.Memory), "checked when the module was compiled"
    return memory


def _bytes_at(caller: wasmtime.Caller, start: int, size: int) -> bytes:
    start, size = start & 0xFFFFFFFF, size & 0xFFFFFFFF
    memory = _memory(caller)
    if start + size > memory.data_len(caller):
        raise PointerError(f"it gave {size} bytes at {start}, which are not in its memory")
    return bytes(memory.read(caller, start, start + size))


def _set_bytes(caller: wasmtime.Caller, start: int, data: bytes) -> None:
    start &= 0xFFFFFFFF
    memory = _memory(caller)
    if start + len(data) > memory.data_len(caller):
        raise PointerError(f"it gave room for {len(data)} bytes at {start}, which is not in its memory")
    memory.write(caller, data, start)
