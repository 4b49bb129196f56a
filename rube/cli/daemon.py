"""The parts that all daemons share around their component: logging, signals, the ready line, one-line errors, exit
codes."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import resource
import signal
import threading  # noqa: TID251 (a thread that watches the others end)
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from rube.api.errors import RubeError
from rube.cli.lines import LineHandler, flush_lines, say
from rube.cli.logfmt import LogfmtFormatter
from rube.cli.open_files import FILES_MIN, FILES_REMEDY, raise_files_limit, watch_files
from rube.cli.service_manager import notify_ready, notify_stopping, say_alive

Stop = asyncio.Event
_E = TypeVar("_E", bound=Exception)
IMPATIENCE_S_MIN = 1.0
"""A second signal within this time is an echo of the first (a terminal signals the whole process group)."""
OTHERS_MASK = 0o077
"""Files that a daemon makes (stores, backups, sockets) are for its user alone; a unit has a umask of its own."""
NEW_OBJECTS_MAX = 20_000
"""The garbage collector looks for cycles at this many new objects. Python's default of 700 is less than the calls in
flight of a busy server hold, so that it would check all of them again and again."""
EXIT_S_MAX = 15.0
"""The time from the end of a daemon's work to the end of its process."""


def configure_logging(level: str) -> None:
    """Structured lines on stderr: `time=… level=info logger=rube.server msg="…"`."""
    handler = LineHandler()
    handler.setFormatter(LogfmtFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def announce(line: str) -> None:
    """Prints the one line on stdout with the addresses of a daemon, once it is ready; the service manager gets it,
    too."""
    say(line)
    notify_ready(line)


def run_daemon(
    name: str, main: Callable[[Stop], Coroutine[Any, Any, None]], *, log_level: str, managed: bool = True
) -> int:
    """Runs `main(stop)` until it ends; SIGTERM and SIGINT set `stop`, a later one cancels. Returns the exit code.

    A command that ends by itself is not `managed`: no service manager hears from it.
    """
    configure_logging(log_level)
    _forget_inherited_signals()
    os.umask(OTHERS_MASK)
    if (files := raise_files_limit()) < FILES_MIN:
        say(f"{name}: this process may open only {files} files: {FILES_REMEDY}", error=True)
        flush_lines()
        return 1
    gc.freeze()  # imported modules stay
    gc.set_threshold(NEW_OBJECTS_MAX, *gc.get_threshold()[1:])
    watch = make_end_watch(name)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            try:
                runner.run(_with_signals(main, managed))
            finally:
                watch.start()
    except (RubeError, OSError) as error:
        say(f"{name}: {describe(error)}", error=True)
        return 1
    except ExceptionGroup as group:
        return _report_group(name, group)
    except (asyncio.CancelledError, KeyboardInterrupt):
        say(f"{name}: stopped before everything was put away", error=True)
        return 1
    finally:
        watch.cancel()
        flush_lines()
    return 0


def make_end_watch(name: str) -> threading.Timer:
    """Ends this process EXIT_S_MAX after it was started, unless it is cancelled: the event loop joins its threads when
    it is closed, and one of them may be stuck in a system call."""

    def end() -> None:
        say(f"{name}: ended though a system call hangs: is a disk or a server away?", error=True)
        flush_lines()
        os._exit(1)

    timer = threading.Timer(EXIT_S_MAX, end)
    timer.daemon = True
    return timer


def _forget_inherited_signals() -> None:
    """Lets a daemon hear SIGTERM and learn how its children end, even if the program that started it had blocked or
    ignored these signals. An ignored SIGHUP stays ignored, as nohup wants it.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


async def first_of(stopped: Coroutine[Any, Any, object], failed: Coroutine[Any, Any, _E]) -> _E | None:
    """Waits for either; returns the failure, or None when it was asked to stop."""
    stopping, failing = asyncio.create_task(stopped), asyncio.create_task(failed)
    try:
        await asyncio.wait([stopping, failing], return_when=asyncio.FIRST_COMPLETED)
        return failing.result() if failing.done() else None
    finally:
        stopping.cancel()
        failing.cancel()


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancels a task and waits until it has ended; raises the error that it had failed with."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


def _report_group(name: str, group: ExceptionGroup[Exception]) -> int:
    """Prints one line for each RubeError or OSError inside. Any other error keeps its traceback."""
    expected, unexpected = group.split((RubeError, OSError))
    for error in _leaves(expected):
        say(f"{name}: {describe(error)}", error=True)
    if unexpected is not None:
        raise unexpected
    return 1


def _leaves(error: BaseException | None) -> list[BaseException]:
    if error is None:
        return []
    if isinstance(error, BaseExceptionGroup):
        return [leaf for child in error.exceptions for leaf in _leaves(child)]
    return [error]


def describe(error: BaseException) -> str:
    """An error, or all that a group holds, as one line."""
    return "; ".join(_describe_leaf(leaf) for leaf in _leaves(error))


def _describe_leaf(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    causes = (error, error.__cause__)
    if any(isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE) for cause in causes):
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return f"{text}: this process may open {soft} files: {FILES_REMEDY}"
    return text


def is_expected(error: BaseException) -> bool:
    """Returns whether the error's message says enough; any other error is a mistake in the code, and needs its
    traceback."""
    return all(isinstance(leaf, (RubeError, OSError)) for leaf in _leaves(error))


async def _with_signals(main: Callable[[Stop], Coroutine[Any, Any, None]], managed: bool) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    stop = asyncio.Event()
    first_s = 0.0

    def on_signal() -> None:
        nonlocal first_s
        if not stop.is_set():
            first_s = loop.time()
            stop.set()
            if managed:
                notify_stopping()
        elif task is not None and loop.time() - first_s > IMPATIENCE_S_MIN:
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    beside = [asyncio.create_task(watch_files())]
    if managed:
        beside.append(asyncio.create_task(say_alive()))
    try:
        await main(stop)
    finally:
        for watching in beside:
            watching.cancel()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed (the extra `fast`)."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
