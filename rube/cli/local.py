"""A small real cluster on this machine: the daemons as child processes, for `rube up`, the demo and the tests."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from rube.api.errors import FailedPreconditionError

READY_S_MAX = 30.0
STOP_S_MAX = 15.0
LOG_TAIL_LINES = 8

APISERVER = (sys.executable, "-m", "rube.cli.main", "apiserver")
RUBELET = (sys.executable, "-m", "rube.cli.rubelet")
OPEN_POLICY = """# Units may do here whatever the rubelet may, as root, too, if it is root.
users: "*"
groups: "*"
writable_paths: "/*"
readable_paths: "/*"
options: "*"
"""
RUCTL = (sys.executable, "-m", "ructl.main")


class Daemon:
    """One daemon as a child process, with its log in a file; can be started again after it has ended."""

    def __init__(self, name: str, argv: Sequence[str], *, log: Path) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> str:
        """Starts it and returns its ready line; FailedPreconditionError with the end of its log if it ends first."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the parent, which stops its children in order
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_S_MAX):
                line = await self._process.stdout.readline()
        except TimeoutError:
            await self.kill()
            raise self.failed(f"was not ready within {READY_S_MAX:.0f} s") from None
        if not line:
            raise self.failed(f"ended with exit code {await self._process.wait()}")
        return line.decode().strip()

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None, f"{self.name} was never started"
        self._process.send_signal(number)

    async def stop(self) -> int:
        """SIGTERM, then SIGKILL if it takes too long. Returns the exit code."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> int:
        """kill -9."""
        return await self._end(signal.SIGKILL)

    async def wait(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return await self._process.wait()

    async def _end(self, number: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            try:
                async with asyncio.timeout(STOP_S_MAX):
                    await process.wait()
            except TimeoutError:
                process.kill()
        return await process.wait()

    def failed(self, what: str) -> FailedPreconditionError:
        """Returns the error for a daemon that went wrong, with the end of its log, which may soon be removed."""
        with self.log.open(errors="replace") as log:
            tail = "".join(deque(log, maxlen=LOG_TAIL_LINES)).strip()
        return FailedPreconditionError(f"{self.name} {what}; its log ends: {tail}")


def listen_address(ready_line: str) -> str:
    """The address in a ready line: `rube apiserver: listening on 127.0.0.1:7823 …`."""
    match = re.search(r"listening on ([^\s,]+)", ready_line)
    assert match is not None, f"no address in {ready_line!r}"
    return match.group(1)


class LocalCluster:
    """An apiserver on SQLite and rubelets below one directory. Nothing outlives `stop`, the units included."""

    def __init__(self, directory: Path, *, listen: str = "127.0.0.1:0", apiserver_args: Sequence[str] = ()) -> None:
        self.directory = directory
        self.apiserver = Daemon(
            "apiserver",
            [*APISERVER, "--store", f"sqlite:///{directory / 'store.db'}", "--listen", listen, *apiserver_args],
            log=directory / "apiserver.log",
        )
        self.rubelets: dict[str, Daemon] = {}
        self.address = ""

    async def start_apiserver(self) -> str:
        """Starts it, or starts it again where it listened before. Returns its address."""
        if self.address:
            self.apiserver.argv[self.apiserver.argv.index("--listen") + 1] = self.address
        self.address = listen_address(await self.apiserver.start())
        return self.address

    def node_directory(self, node: str) -> Path:
        return self.directory / node

    def node_socket(self, node: str) -> Path:
        return self.node_directory(node) / "rubelet.sock"

    async def start_rubelet(self, node: str, *, server: str = "", args: Sequence[str] = ()) -> Daemon:
        """Starts, or starts again, the rubelet of `node`, on the supervisor driver."""
        if node not in self.rubelets:
            argv = [*RUBELET, "--server", server or self.address, "--node", node]
            argv += ["--data", str(self.node_directory(node)), "--driver", "supervisor", *args]
            if "--policy" not in args:
                argv += ["--policy", str(write_open_policy(self.directory))]
            self.rubelets[node] = Daemon(f"rubelet {node}", argv, log=self.directory / f"{node}.log")
        await self.rubelets[node].start()
        return self.rubelets[node]

    async def stop(self) -> None:
        """Ends the daemons, then every unit they left running."""
        for rubelet in self.rubelets.values():
            await rubelet.stop()
        await self.apiserver.stop()
        for node in self.rubelets:
            await purge(self.node_directory(node))


def write_open_policy(directory: Path) -> Path:
    """Returns a policy under which units may do everything that the rubelet may: for the user's own machine."""
    path = directory / "node-policy.textproto"
    if not path.exists():
        path.write_text(OPEN_POLICY)
        path.chmod(0o644)
    return path


async def purge(data: Path) -> None:
    """Stops and removes every unit that the rubelet with this data directory managed."""
    code, output = await run([*RUBELET, "--data", str(data), "--driver", "supervisor", "--purge"])
    if code != 0:
        raise FailedPreconditionError(f"rubelet --purge of {data} failed: {output.strip()}")


async def run(argv: Sequence[str], *, stdin: bytes = b"") -> tuple[int, str]:
    """Runs a command to its end; returns its exit code, and its output on stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(stdin)
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")


@contextlib.asynccontextmanager
async def local_cluster(
    directory: Path, *, listen: str = "127.0.0.1:0", apiserver_args: Sequence[str] = ()
) -> AsyncIterator[LocalCluster]:
    """A LocalCluster whose apiserver runs; everything is stopped at the end."""
    cluster = LocalCluster(directory, listen=listen, apiserver_args=apiserver_args)
    try:
        await cluster.start_apiserver()
        yield cluster
    finally:
        await cluster.stop()
