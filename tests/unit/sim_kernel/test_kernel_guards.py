"""Entropy guards: each entry is refused inside a world, with its remedy, and works again outside."""

from __future__ import annotations

import _thread
import asyncio
import glob
import importlib
import logging
import mmap
import os
import random
import secrets
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from rube.sim.world.kernel import EntropyError, World, lifted
from rube.sim.world.kernel.guards import REFUSED, REFUSED_WITHOUT_ARGUMENT

CALLS: dict[str, Callable[[], object]] = {
    "open": lambda: open("/etc/hostname"),  # noqa: SIM115 - refused
    "Path.read_bytes": lambda: Path("/etc/hostname").read_bytes(),
    "os.open": lambda: os.open("/etc/hostname", os.O_RDONLY),
    "os.listdir": lambda: os.listdir("/"),
    "os.scandir": lambda: os.scandir("/"),
    "os.mkdir": lambda: os.mkdir("/nonexistent/x"),
    "os.remove": lambda: os.remove("/nonexistent/x"),
    "os.rename": lambda: os.rename("/nonexistent/x", "/nonexistent/y"),
    "os.rmdir": lambda: os.rmdir("/nonexistent/x"),
    "os.link": lambda: os.link("/nonexistent/x", "/nonexistent/y"),
    "os.symlink": lambda: os.symlink("/nonexistent/x", "/nonexistent/y"),
    "os.truncate": lambda: os.truncate("/nonexistent/x", 0),
    "os.chmod": lambda: os.chmod("/nonexistent/x", 0),
    "os.utime": lambda: os.utime("/nonexistent/x"),
    "shutil": lambda: shutil.copyfile("/nonexistent/x", "/nonexistent/y"),
    "tempfile": lambda: tempfile.mkdtemp(),
    "glob": lambda: glob.glob("/nonexistent/*"),
    "fcntl": lambda: importlib.import_module("fcntl").flock(0, 8),
    "mmap": lambda: mmap.mmap(-1, 10),
    "sqlite3.connect": lambda: sqlite3.connect(":memory:"),
    "socket": lambda: socket.socket(),
    "socket.getaddrinfo": lambda: socket.getaddrinfo("localhost", 1),
    "urllib": lambda: urllib.request.urlopen("http://127.0.0.1:1/"),
    "subprocess": lambda: subprocess.run(["true"]),
    "os.system": lambda: os.system("true"),
    "os.fork": lambda: os.fork(),
    "os.posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "os.exec": lambda: os.execv("/bin/true", ["true"]),
    "os.kill": lambda: os.kill(os.getpid(), 0),
    "os.killpg": lambda: os.killpg(os.getpgrp(), 0),
    "ThreadPoolExecutor": lambda: ThreadPoolExecutor(1).submit(int),
    "Random()": lambda: random.Random(),
    "SystemRandom": lambda: random.SystemRandom().random(),
    "Timestamp.GetCurrentTime": lambda: Timestamp().GetCurrentTime(),
    "time.strftime": lambda: time.strftime("%Y"),
    "uuid.uuid4": lambda: uuid.uuid4(),
    "time.sleep": lambda: time.sleep(0),
    "start_new_thread": lambda: _thread.start_new_thread(int, ()),
    "Thread.start": lambda: threading.Thread(target=int).start(),
    "asyncio.Runner": lambda: asyncio.Runner().get_loop(),
    "secrets.token_hex": lambda: secrets.token_hex(),
}


def in_a_world(call: Callable[[], object]) -> object:
    async def main() -> object:
        return call()

    with World(1) as world:
        return world.run(main)


@pytest.mark.parametrize("name", CALLS)
def test_call_is_refused_with_a_remedy(name: str) -> None:
    with pytest.raises(EntropyError, match=r"in simulated code: use "):
        in_a_world(CALLS[name])


@pytest.mark.parametrize(
    ("place", "name"),
    [pytest.param(place, name, id=f"{place.__name__}.{name}") for place, names, _ in REFUSED for name in names],
)
def test_every_patched_name_is_refused_inside_and_restored_outside(place: object, name: str) -> None:
    before = vars(place)[name]
    with pytest.raises(EntropyError, match=f"{name}.* in simulated code"):
        in_a_world(lambda: getattr(place, name)())
    assert vars(place)[name] is before


@pytest.mark.parametrize("entry", REFUSED_WITHOUT_ARGUMENT, ids=lambda entry: f"{entry[0].__name__}.{entry[1]}")
def test_conversion_is_refused_only_without_the_thing_to_convert(entry: tuple[object, str, int, str]) -> None:
    place, name, arguments_min, _ = entry
    with pytest.raises(EntropyError, match=f"{name}.* in simulated code"):
        in_a_world(lambda: getattr(place, name)(*["%Y"][: arguments_min - 1]))


def test_conversions_and_seeded_generators_work() -> None:
    def use() -> object:
        return time.gmtime(0).tm_year, time.strftime("%Y", (1999,) + (1,) * 8), random.Random(5).random()

    assert in_a_world(use) == (1970, "1999", random.Random(5).random())


def test_the_world_outside_is_left_alone_between_runs() -> None:
    with World(1) as world:
        world.run_for(1)
        assert time.time() > 0
        assert Path("/").exists()
        assert list(Path("/").iterdir())


def test_imports_work_and_may_read_files(tmp_path: Path) -> None:
    (tmp_path / "lazy_module_of_the_test.py").write_text("import time\nSTARTED = time.time()\n")
    sys.path.insert(0, str(tmp_path))
    try:
        assert in_a_world(lambda: importlib.import_module("lazy_module_of_the_test").STARTED)
    finally:
        sys.path.remove(str(tmp_path))


def test_tracebacks_can_be_printed() -> None:
    def fail() -> str:
        try:
            return str(1 // 0)
        except ZeroDivisionError:
            return traceback.format_exc()

    assert "return str(1 // 0)" in str(in_a_world(fail))


def test_lifted_lets_the_block_through() -> None:
    def read() -> float:
        with lifted():
            before = time.time()
        with pytest.raises(EntropyError):
            time.time()
        return before

    assert in_a_world(read)


def test_to_thread_of_real_io_is_refused_too() -> None:
    async def main() -> None:
        await asyncio.to_thread(Path("/etc/hostname").read_bytes)

    with World(1) as world, pytest.raises(EntropyError, match=r"host\.storage"):
        world.run(main)


def test_log_records_carry_the_hosts_wall_clock(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        await asyncio.sleep(2)
        logging.getLogger("test").warning("a line")

    with World(1, start_unix_ns=10**18) as world:
        world.run(main, host=world.host("a", clock_offset_ns=5 * 10**9))
    assert [record.created for record in caplog.records] == [1_000_000_007.0]


def test_guards_hold_in_the_second_world_and_after_a_failed_run() -> None:
    for _ in range(2):
        with pytest.raises(EntropyError):
            in_a_world(lambda: time.time())
    assert time.time.__name__ == "time"
