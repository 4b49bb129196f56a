"""Entropy guards: simulated code that reaches for the real world meets an EntropyError that names the port to use.

What is caught while a world runs (and only then):

- time: `time.time`, `monotonic`, `perf_counter`, `process_time`, `thread_time` and their `_ns`, `clock_gettime`,
  `sleep`; `localtime`, `gmtime`, `ctime`, `strftime` without the time to convert; protobuf's
  `Timestamp.GetCurrentTime`.
- randomness: the functions of module `random`, generators without a seed, `random.SystemRandom`, `os.urandom`,
  `os.getrandom`, the functions of `secrets`, `uuid.uuid1` and `uuid.uuid4`.
- threads: `threading.Thread.start` (executors too) and `_thread.start_new_thread`.
- other event loops: `asyncio.new_event_loop`, and so `asyncio.Runner`.
- files, sockets, processes, by the interpreter's audit events: `open`, directory and file changes, `shutil`,
  `tempfile`, `sqlite3.connect`, `socket`, `subprocess`, `fork`, `exec`, `system`, `kill`.

`logging` goes on working, stamped with the wall clock of the current host. Imports, and tracebacks that read source
lines, are let through. Not caught: names bound before (`from time import time`), `datetime.now` (a C type), addresses
(`id`, default reprs), hash order of strings. The lint rules catch the first two; running twice catches the rest.
"""

from __future__ import annotations

import _thread
import asyncio
import logging
import os
import random  # noqa: TID251 - to guard it
import secrets  # noqa: TID251 - to guard it
import sys
import threading  # noqa: TID251 - to guard it
import time  # noqa: TID251 - to guard it
import uuid  # noqa: TID251 - to guard it
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from google.protobuf.internal import well_known_types

from rube.sim.world.kernel.errors import EntropyError

CLOCK = "use host.clock"
RANDOM = "use host.random"
STORAGE = "use host.storage"
NETWORK = "use host.network"
DRIVER = "use a driver"
THREADS = "use asyncio tasks, or asyncio.to_thread, which a world runs inline"
LOOP = "use the loop that runs: await, or create a task"

REFUSED: tuple[tuple[Any, tuple[str, ...], str], ...] = (
    (time, ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"), CLOCK),
    (time, ("process_time", "process_time_ns", "thread_time", "thread_time_ns"), CLOCK),
    (time, ("clock_gettime", "clock_gettime_ns", "sleep"), CLOCK),
    (well_known_types.Timestamp, ("GetCurrentTime",), CLOCK),
    (random, ("betavariate", "choice", "choices", "expovariate", "gammavariate", "gauss", "getrandbits"), RANDOM),
    (random, ("lognormvariate", "normalvariate", "paretovariate", "randbytes", "randint", "random"), RANDOM),
    (random, ("randrange", "sample", "shuffle", "triangular", "uniform", "vonmisesvariate"), RANDOM),
    (random, ("weibullvariate", "seed", "getstate", "setstate", "_urandom"), RANDOM),
    (os, ("urandom", "getrandom"), RANDOM),
    (secrets, ("choice", "randbelow", "randbits", "token_bytes", "token_hex", "token_urlsafe"), RANDOM),
    (uuid, ("uuid1", "uuid4"), RANDOM),
    (threading.Thread, ("start",), THREADS),
    (_thread, ("start_new_thread", "start_new"), THREADS),
    (asyncio, ("new_event_loop",), LOOP),
    (asyncio.events, ("new_event_loop",), LOOP),
)
"""The names that are refused outright: the module, the names, and the remedy."""

REFUSED_WITHOUT_ARGUMENT: tuple[tuple[Any, str, int, str], ...] = (
    (time, "localtime", 1, CLOCK),
    (time, "gmtime", 1, CLOCK),
    (time, "ctime", 1, CLOCK),
    (time, "asctime", 1, CLOCK),
    (time, "strftime", 2, CLOCK),
    (random.Random, "seed", 2, RANDOM),
)
"""The names that are refused with fewer arguments than this, or None for the last: then they ask the real world."""

REFUSED_EVENTS: dict[str, str] = {
    **dict.fromkeys(("open", "sqlite3.connect", "mmap.__new__", "shutil", "tempfile", "glob"), STORAGE),
    **dict.fromkeys(("os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "os.rmdir"), STORAGE),
    **dict.fromkeys(("os.link", "os.symlink", "os.truncate", "os.chmod", "os.utime", "fcntl"), STORAGE),
    **dict.fromkeys(("socket", "urllib.Request", "http.client.connect"), NETWORK),
    **dict.fromkeys(("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"), DRIVER),
    **dict.fromkeys(("os.fork", "os.forkpty", "os.kill", "os.killpg", "pty.spawn"), DRIVER),
}
"""Audit events, or their part before the dot, and the remedy."""

STACK_DEPTH_MAX = 60
"""So many callers are searched for the import system."""

_active = False
_hooked = False


@contextmanager
def guarded(wall_ns: Callable[[], int]) -> Iterator[None]:
    """Refuses entropy for the block; log records are stamped with `wall_ns()`."""
    global _active
    _hook_once()
    restore = [_patch(place, name, _refusal(place, name, remedy)) for place, names, remedy in REFUSED for name in names]
    restore += [
        _patch(place, name, _refusal(place, name, remedy, arguments_min))
        for place, name, arguments_min, remedy in REFUSED_WITHOUT_ARGUMENT
    ]
    restore.append(_patch(logging, "time", _VirtualTime(wall_ns)))
    _active = True
    try:
        yield
    finally:
        _active = False
        for undo in reversed(restore):
            undo()


@contextmanager
def lifted() -> Iterator[None]:
    """Lets the block reach the real world: for reports and scripts around a world, never for components."""
    global _active
    before, _active = _active, False
    try:
        yield
    finally:
        _active = before


class _VirtualTime:
    """The `time` that module logging sees."""

    def __init__(self, wall_ns: Callable[[], int]) -> None:
        self._wall_ns = wall_ns

    def time(self) -> float:
        return self._wall_ns() / 1e9

    def time_ns(self) -> int:
        return self._wall_ns()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def _patch(place: Any, name: str, replacement: object) -> Callable[[], None]:
    """Sets the attribute and returns what puts the original back."""
    original = place.__dict__[name]
    setattr(place, name, replacement)
    return lambda: setattr(place, name, original)


def _refusal(place: Any, name: str, remedy: str, arguments_min: int | None = None) -> Callable[..., Any]:
    original = place.__dict__[name]
    label = f"{place.__name__}.{name}"

    def refuse(*args: Any, **kwargs: Any) -> Any:
        enough = arguments_min is not None and len(args) + len(kwargs) >= arguments_min and None not in args
        if enough or not _active or _is_loading(sys._getframe(1)):
            return original(*args, **kwargs)
        raise EntropyError(f"{label}() in simulated code: {remedy}")

    return refuse


def _hook_once() -> None:
    """Adds the audit hook on first use: the interpreter never removes one."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _active:
        return
    remedy = REFUSED_EVENTS.get(event) or REFUSED_EVENTS.get(event.partition(".")[0])
    if remedy is not None and not _is_loading(sys._getframe(1)):
        shown = f" of {args[0]!r}" if args and isinstance(args[0], str) else ""
        raise EntropyError(f"{event}{shown} in simulated code: {remedy}")


def _is_loading(frame: FrameType | None) -> bool:
    """Returns whether the import system, or the reader of source lines for tracebacks, is among the callers."""
    for _ in range(STACK_DEPTH_MAX):
        if frame is None:
            return False
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib") or file.endswith("linecache.py"):
            return True
        frame = frame.f_back
    return False
