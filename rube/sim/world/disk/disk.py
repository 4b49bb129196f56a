"""A host's simulated disk: what engines use, and the faults that a world switches on and off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from errno import EIO, ENOSPC

from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.api.times import NS_PER_MS
from rube.host.disk_errors import failed, full
from rube.sim.world.disk.log import LogContent, SimLogFile
from rube.sim.world.disk.names import Names
from rube.sim.world.disk.page_file import SimPageFile
from rube.sim.world.disk.pages import PageContent
from rube.sim.world.disk.syncs import LogSync, Syncs
from rube.sim.world.kernel import SimHost, SimProcess, current_process
from rube.sim.world.kernel.trace import fingerprint

SYNC_LATENCY_NS = 250_000
"""A sync of a good disk: facts of the field say 0.1 to 1 ms."""


class DiskCall(Enum):
    """A call to a disk that can fail."""

    READ = "read"
    WRITE = "write"
    SYNC = "sync"


class SimDisk:
    """A host's disk. Files are known by their path and belong to no process.

    Faults are switched on and off here while the world runs; each is recorded in the trace.
    """

    def __init__(self, host: SimHost) -> None:
        self._host = host
        self._random = host.world.random(f"disk/{host.name}")
        self._names = Names()
        self._syncs = Syncs(host.world.loop, self._finish)
        self._latency_ns = (SYNC_LATENCY_NS, SYNC_LATENCY_NS)
        self._capacity_bytes: int | None = None
        self._tear = True
        # So many of the next calls fail.
        self._failing = dict.fromkeys(DiskCall, 0)
        self._lies = False
        self._has_lied = False
        # What looks on meets no fault.
        self._looking = False
        # It was full, a call failed, a sync lied or bytes were damaged: a daemon may end over that.
        self.has_failed = False
        # It lied, and lost with its power what a sync had reported as durable.
        self.has_forgotten = False
        # Called as each sync begins.
        self._interrupts: list[Callable[[], None]] = []
        # Called before each step of a file of pages.
        self._step_interrupts: list[Callable[[], None]] = []
        host.on_power_off(lambda _: self._power_lost())

    # What engines use (rube.store.engines.Disk)

    def open(self, path: str) -> SimLogFile:
        """Opens or creates a file for the running process, and for no other until that ends or closes it."""
        process = current_process()
        process.check_alive()
        content = self._names.opened(path)
        if isinstance(content, PageContent):
            raise FailedPreconditionError(f"{path} on {self._host.name} is no log: choose another file")
        if content.holder is not None:
            raise FailedPreconditionError(
                f"{path} on {self._host.name} is in use by {content.holder}: stop it or choose another file"
            )
        content.holder = process
        process.on_death(lambda dead, _death: content.release(dead))
        return SimLogFile(self, path, content, process)

    def read(self, path: str) -> bytes | None:
        """Returns the file's content, whether or not it is open; None: there is none."""
        current_process().check_alive()
        content = self._names.get(path)
        if content is None:
            return None
        self.check_log_read(path)
        return bytes(content.data)

    def open_pages(self, path: str, *, create: bool = False) -> SimPageFile:
        """Opens a file of pages for the running process, even if others have it open.

        Raises FileNotFoundError if there is none and `create` is not set.
        """
        process = current_process()
        process.check_alive()
        content = self._names.get(path)
        if content is None:
            if not create:
                raise FileNotFoundError(path)
            self._step(process)
            content = self._names.new_pages()
            self._syncs.ahead(lambda: self._names.rename(path, None))
            self._names.rename(path, content)
            self._note("disk-create", path)
        elif not isinstance(content, PageContent):
            raise FailedPreconditionError(f"{path} on {self._host.name} is a log: choose another file")
        return SimPageFile(self, path, content, process)

    def remove(self, path: str) -> None:
        """Removes a file of pages; processes that have it open go on with it. Raises FileNotFoundError if there is
        none."""
        process = current_process()
        process.check_alive()
        content = self._names.get(path)
        if not isinstance(content, PageContent):
            raise FileNotFoundError(path)
        self._step(process)
        self._syncs.ahead(lambda: self._names.rename(path, content))
        self._names.rename(path, None)
        self._note("disk-remove", path)

    def sync_directory(self, path: str) -> None:
        """Makes durable which files of pages there are in a directory."""
        process = current_process()
        process.check_alive()
        self._step(process)
        self._take_time()
        found = self._names.pages_in(path)

        def finish() -> None:
            self._names.synced(path, found)
            self._note("disk-sync", path, 0)

        self._syncs.begin_pages(finish)

    def size_bytes(self, path: str) -> int | None:
        """Returns the size; None: there is no such file."""
        content = self._names.get(path)
        return len(content.data) if content is not None else None

    @property
    def free_bytes(self) -> int | None:
        """The free bytes; None: unlimited."""
        return None if self._capacity_bytes is None else max(0, self._capacity_bytes - self.used_bytes)

    # Faults

    def fail_sync(self, count: int = 1) -> None:
        """The next `count` syncs fail, and the bytes they were to make durable are gone."""
        self._fail(DiskCall.SYNC, "fail-sync", count)

    def fail_reads(self, count: int = 1) -> None:
        """The next `count` reads fail (EIO). A log is read when it is opened."""
        self._fail(DiskCall.READ, "fail-reads", count)

    def fail_writes(self, count: int = 1) -> None:
        """The next `count` writes fail (EIO), and nothing of them is written."""
        self._fail(DiskCall.WRITE, "fail-writes", count)

    def spare(self, call: DiskCall) -> None:
        """Undoes that fault of one kind of call as far as nothing has failed yet."""
        if self._failing[call]:
            self._failing[call] = 0
            self._fault("disarm")

    def disarm(self) -> None:
        """Undoes `fail_sync`, `fail_reads` and `fail_writes` as far as nothing has failed yet, and `lie`."""
        if any(self._failing.values()) or self._lies:
            self._failing = dict.fromkeys(DiskCall, 0)
            self._lies = False
            self._fault("disarm")

    def lie(self, enabled: bool = True) -> None:
        """Sets whether syncs report success and make nothing durable; an honest one later does."""
        self._lies = enabled
        self.has_failed |= enabled
        self._has_lied |= enabled
        self._fault("lie", int(enabled))

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Lets what looks on meet no failure of a read, and use up none."""
        self._looking = True
        try:
            yield
        finally:
            self._looking = False

    def fill(self, free_bytes: int = 0) -> None:
        """Leaves room for only so many more bytes, until `free`."""
        self._capacity_bytes = self.used_bytes + free_bytes
        self.has_failed = True
        self._fault("full", free_bytes)

    def free(self) -> None:
        """Ends `fill`."""
        self._capacity_bytes = None
        self._fault("free")

    def stall(self) -> None:
        """No sync ends until `unstall`."""
        if self._syncs.stall():
            self._fault("stall")

    def unstall(self) -> None:
        """Lets the syncs end, in the order in which they began."""
        if (release := self._syncs.unstall()) is not None:
            self._fault("unstall")
            release()

    def latency_ms(self, least: float, most: float | None = None) -> None:
        """Every sync takes between `least` and `most` milliseconds from now on, drawn from the world's seed."""
        most = least if most is None else most
        if not 0 <= least <= most:
            raise InvalidArgumentError(f"disk latency {least} to {most} ms: give 0 <= least <= most")
        self._latency_ns = (round(least * NS_PER_MS), round(most * NS_PER_MS))
        self._fault("latency", *self._latency_ns)

    def tear(self, enabled: bool = True) -> None:
        """Sets whether power loss leaves a random part of the unsynced bytes (the default), or nothing of them."""
        self._tear = enabled
        self._fault("tear", int(enabled))

    def on_sync(self, act: Callable[[], None]) -> Callable[[], None]:
        """Calls `act` as each sync begins, until the returned function is called: for faults that strike a write."""
        self._interrupts.append(act)
        return lambda: self._interrupts.remove(act) if act in self._interrupts else None

    def on_step(self, act: Callable[[], None]) -> Callable[[], None]:
        """Calls `act` before each write, truncation, sync, creation and removal of files of pages, until the returned
        function is called: if it ends the process that asks for the step, that is not carried out."""
        self._step_interrupts.append(act)
        return lambda: self._step_interrupts.remove(act) if act in self._step_interrupts else None

    def flip(self, path: str, offset: int | None = None) -> int:
        """Flips one bit of the stored bytes of a file, at a random place unless told; returns its byte offset."""
        content = self._names.get(path)
        if content is None or not content.data:
            raise InvalidArgumentError(f"there is nothing to flip in {path!r} on {self._host.name}: no bytes there")
        where = self._random.randrange(len(content.data)) if offset is None else offset
        content.flip(where, self._random.randrange(8))
        self.has_failed = True
        self._fault("flip", path, where)
        return where

    def wipe(self, path: str | None = None) -> None:
        """Removes every file, as a replaced disk does, or one with those that a database puts beside it under its name.

        No process may have one of them open.
        """
        beside = (f"{path}-", f"{path}.")
        gone = [name for name in self._names.paths if path in (None, name) or name.startswith(beside)]
        held = [name for name in gone if (content := self._names.get(name)) is not None and content.holder is not None]
        if held:
            raise FailedPreconditionError(f"{held[0]} on {self._host.name} is open: stop its process first")
        for name in gone:
            self._names.delete(name)
        self._fault("wipe", *gone if path else ())

    # What tests and reports look at

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, in the order of their names."""
        return self._names.paths

    def version(self, path: str) -> tuple[int, int]:
        """Returns a value that stays equal as long as the durable part of a file only grows."""
        content = self._names.durable(path)
        return (content.number, content.edits) if content is not None else (0, 0)

    def durable(self, path: str, start: int = 0) -> bytes:
        """Returns the durable part of a file, from that byte on; empty if the directory durably has none."""
        content = self._names.durable(path)
        return content.durable(start) if content is not None else b""

    def reported(self, path: str, start: int = 0) -> bytes:
        """Returns what a program may hold to be durable: the durable part, and what a sync has lied about."""
        content = self._names.durable(path)
        return content.reported(start) if content is not None else b""

    @property
    def used_bytes(self) -> int:
        return self._names.used_bytes

    # For SimPageFile

    def write_pages(self, path: str, content: PageContent, process: SimProcess, place: int, data: bytes) -> None:
        """Raises OSError: EIO, ENOSPC."""
        self._step(process)
        if self._fails(DiskCall.WRITE):
            raise OSError(EIO, "a write failed", path)
        more_bytes = max(0, place + len(data) - len(content.data))
        if (free_bytes := self.free_bytes) is not None and more_bytes > free_bytes:
            raise OSError(ENOSPC, "no room", path)
        self._syncs.ahead(content.undo_of(place))
        content.write(place, data)
        self.record("disk-write", path, data, place)

    def truncate_pages(self, path: str, content: PageContent, process: SimProcess, length_bytes: int) -> None:
        self._step(process)
        self._syncs.ahead(content.undo_of(length_bytes))
        content.truncate(length_bytes)
        self._note("disk-truncate", path, length_bytes)

    def sync_pages(self, path: str, content: PageContent, process: SimProcess) -> None:
        """Makes the file's content durable, on an executor once the time has passed that it takes.

        Raises OSError: EIO.
        """
        self._step(process)
        self._take_time()
        if self._fails(DiskCall.SYNC):
            content.fail_sync()
            self._note("disk-sync-failed", path)
            raise OSError(EIO, "a sync failed", path)
        kind = "disk-sync-lied" if self._lies else "disk-sync"
        reach = content.begin_lie() if self._lies else content.begin_sync()

        def finish() -> None:
            reach()
            self._note(kind, path)

        self._syncs.begin_pages(finish)

    def check_read(self, path: str) -> None:
        """Raises OSError if a fault says so: EIO."""
        if self._fails(DiskCall.READ):
            raise OSError(EIO, "a read failed", path)

    def _step(self, process: SimProcess) -> None:
        for act in tuple(self._step_interrupts):
            act()
        process.check_alive()

    def _take_time(self) -> None:
        self._syncs.spend(self._random.randint(*self._latency_ns))

    # For SimLogFile

    def check_log_read(self, path: str) -> None:
        """Raises DataLossError if a fault says so."""
        if self._fails(DiskCall.READ):
            raise failed(f"{path} on {self._host.name}", "EIO on read")

    def check_log_write(self, path: str, more_bytes: int) -> None:
        """Raises DataLossError if a fault says so, and ResourceExhaustedError if so many more bytes do not fit."""
        if self._fails(DiskCall.WRITE):
            raise failed(f"{path} on {self._host.name}", "EIO on write")
        if self._capacity_bytes is not None and self.used_bytes + more_bytes > self._capacity_bytes:
            raise full(f"{path} on {self._host.name}")

    async def sync(self, path: str, content: LogContent) -> None:
        """Makes the bytes that the file has now durable; raises DataLossError if a fault says so."""
        sync = self._syncs.begin_log(path, content)
        for act in tuple(self._interrupts):
            act()
        self._syncs.end_after(self._random.randint(*self._latency_ns), sync)
        await sync.done

    def record(self, kind: str, path: str, data: bytes | bytearray, *place: int) -> None:
        """Adds the written data to the trace, as a hash."""
        self._note(kind, path, *place, len(data), fingerprint(data))

    def _finish(self, sync: LogSync) -> None:
        error = None
        if self._fails(DiskCall.SYNC):
            sync.content.lose_unsynced(keep_bytes=0)
            error = failed(f"{sync.path} on {self._host.name}", "EIO on sync")
            self._note("disk-sync-failed", sync.path)
        elif self._lies:
            sync.content.lied(sync.length_bytes)
            self._note("disk-sync-lied", sync.path)
        else:
            sync.content.synced(sync.length_bytes)
            self._note("disk-sync", sync.path, sync.length_bytes)
        sync.end(error)

    def _power_lost(self) -> None:
        self._syncs.lose_power()
        if self._has_lied:
            self.has_forgotten |= any(self.reported(path) != self.durable(path) for path in self.paths)
        for path in self._names.lose_power(self._random, tear=self._tear):
            self._note("disk-name-lost", path)
        for path in self.paths:
            content = self._names.opened(path)
            unsynced_bytes = content.unsynced_bytes
            if isinstance(content, PageContent):
                content.lose_power(self._random, tear=self._tear)
                if unsynced_bytes:
                    self._note("disk-lost", path, fingerprint(content.data))
                continue
            kept = self._random.randint(0, unsynced_bytes) if self._tear else 0
            content.lose_unsynced(keep_bytes=kept)
            if unsynced_bytes:
                self._note("disk-lost", path, unsynced_bytes - kept)

    def _fail(self, call: DiskCall, kind: str, count: int) -> None:
        self._failing[call] += count
        self.has_failed = True
        self._fault(kind, count)

    def _fails(self, call: DiskCall) -> bool:
        """Returns whether this call is to fail, and counts it."""
        if self._looking or not self._failing[call]:
            return False
        self._failing[call] -= 1
        return True

    def _fault(self, kind: str, *fields: str | int) -> None:
        self._note("disk-fault", kind, *fields)

    def _note(self, kind: str, *fields: str | int | bytes) -> None:
        self._host.world.trace.add(kind, self._host.name, *fields)
