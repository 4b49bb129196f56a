"""The file with a node's policy: read at the start, on SIGHUP and after each change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

from rube.api import NodePolicy
from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.api.textproto import parse
from rube.cli.rubelet import DEFAULT_POLICY
from rube.host import Clock
from rube.units.policy import PolicyGate
from rube.units.policy.machine_accounts import MachineAccounts
from rube.units.policy.rules import policy_problem

_LOG = logging.getLogger("rube.rubelet")
POLL_S = 2.0
"""The interval of looks at the file."""
FILE_BYTES_MAX = 1024 * 1024
DEFAULT_SOURCE = f"it has no policy {DEFAULT_POLICY}"


class PolicyFile:
    """The policy of this node in a file, which its administrator alone may write."""

    def __init__(self, path: Path | None) -> None:
        """None: DEFAULT_POLICY, which may be missing."""
        self._may_be_missing = path is None
        self._path = (path or Path(DEFAULT_POLICY)).absolute()
        self._gate = PolicyGate(accounts=MachineAccounts())
        self._seen: object = None

    def open(self) -> PolicyGate:
        """Returns the gate with the policy. Raises FailedPreconditionError or InvalidArgumentError for a file that is
        none: a node without its rules runs nothing new."""
        self._seen = self._stamp()
        self._gate.set(*self._read())
        return self._gate

    @contextlib.asynccontextmanager
    async def followed(self, clock: Clock) -> AsyncIterator[None]:
        """Keeps the gate up to date meanwhile. A file that cannot be read leaves the last policy in effect."""
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        hears = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # nohup
        if hears:
            loop.add_signal_handler(signal.SIGHUP, asked.set)
        task = asyncio.create_task(self._follow(clock, asked))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            if hears:
                loop.remove_signal_handler(signal.SIGHUP)

    async def _follow(self, clock: Clock, asked: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with clock.timeout(POLL_S):
                    await asked.wait()
            stamp = self._stamp()
            if asked.is_set() or stamp != self._seen:
                asked.clear()
                self._seen = stamp
                self._reread()

    def _reread(self) -> None:
        try:
            policy, source = self._read()
        except (FailedPreconditionError, InvalidArgumentError) as error:
            self._gate.problem = f"{error.message}; the policy that was read before stays in effect"
            _LOG.error("%s", self._gate.problem)
            return
        _LOG.info("the policy of this node is read: %s", source)
        self._gate.set(policy, source)

    def _read(self) -> tuple[NodePolicy, str]:
        try:
            text = self._text()
        except FileNotFoundError as error:
            if self._may_be_missing:
                return NodePolicy(), DEFAULT_SOURCE
            raise FailedPreconditionError(f"policy {self._path}: no such file: write it, or drop --policy") from error
        except OSError as error:
            raise FailedPreconditionError(f"policy {self._path}: {(error.strerror or str(error)).lower()}") from error
        try:
            policy = parse(text, NodePolicy, filename=str(self._path))
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"policy {error.message}") from error
        if problem := policy_problem(policy):
            raise InvalidArgumentError(f"policy {self._path}: {problem}")
        return policy, f"policy {self._path}"

    def _text(self) -> str:
        """Returns the file's content. Raises OSError, and FailedPreconditionError if others could have written it."""
        handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise FailedPreconditionError(f"policy {self._path}: is not a regular file")
            if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
                raise FailedPreconditionError(
                    f"policy {self._path}: others than root and this rubelet's user may write it: chown root it, "
                    "and chmod go-w"
                )
            return file.read(FILE_BYTES_MAX).decode("utf-8", "replace")

    def _stamp(self) -> object:
        try:
            found = self._path.stat()
        except OSError as error:
            return error.errno
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode, found.st_uid
