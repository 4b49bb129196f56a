"""Logs of systemd's units, from a real journal by the real journalctl."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from rube.api import LogLine, LogsRequest
from rube.api.errors import FailedPreconditionError, UnavailableError
from rube.controllers.driver import READ_BYTES_MAX
from rube.host import RealClock
from rube.units.drivers.dbus.journal import Journal
from tests.real.journald import Journald, missing

UNIT, OTHER = "rube-test.one.service", "rube-test.two.service"
WAIT_S_MAX = 30.0


@pytest.fixture(scope="module")
def journald() -> Iterator[Journald]:
    if reason := missing():
        pytest.skip(reason)
    with Journald() as started:
        yield started


async def texts(journal: Journal, unit: str = UNIT, **fields: Any) -> list[str]:
    request = LogsRequest(**fields)
    return [line.text async for response in journal.read(unit, request) for line in response.lines]


async def until(met: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_S_MAX):
        while not await met():
            await asyncio.sleep(0.1)


def test_the_last_lines_of_one_unit_and_what_follows(journald: Journald) -> None:
    async def main() -> None:
        journal = Journal(journald.journalctl, RealClock())
        assert await texts(journal, "rube-test.absent.service") == []
        other, _ = journald.start(OTHER, "echo not mine; sleep 2")
        process, invocation = journald.start(UNIT, "echo one; echo two; echo three; sleep 2; echo four; sleep 100")
        try:
            await until(lambda: _has(journal, "three"))
            assert await texts(journal, lines=2) == ["two", "three"]
            assert await texts(journal, lines=0) == []
            assert await journal.tail(UNIT, invocation) == ["one", "two", "three"]
            assert await journal.tail(UNIT, "0" * 32) == []
            came: list[LogLine] = []
            async with asyncio.timeout(WAIT_S_MAX), aclosing(_follow(journal)) as lines:
                async for line in lines:
                    came.append(line)
                    if line.text == "four":
                        break
            assert [line.text for line in came] == ["three", "four"]
            assert abs(came[1].time.ToNanoseconds() / 1e9 - time.time()) < WAIT_S_MAX
        finally:
            process.kill()
            process.wait()
            other.wait()

    asyncio.run(main())


def test_since_leaves_out_what_is_older(journald: Journald) -> None:
    async def main() -> None:
        journal = Journal(journald.journalctl, RealClock())
        process, _ = journald.start(OTHER, "echo early; sleep 3; echo late; sleep 100")
        try:
            await until(lambda: _has(journal, "late", OTHER))
        finally:
            process.kill()
            process.wait()
        recent = await texts(journal, OTHER, since={"seconds": 2, "nanos": 500_000_000})
        assert "early" not in recent
        assert (await texts(journal, OTHER, since={"seconds": 3600}))[-2:] == ["early", "late"]

    asyncio.run(main())


def test_many_and_long_entries_come_in_bounded_responses(tmp_path: Path) -> None:
    """Some are no text, and some are too long to be read, which are counted."""
    entries: list[dict[str, Any]] = [
        {"MESSAGE": f"line {number}", "__REALTIME_TIMESTAMP": f"{number}"} for number in range(3000)
    ]
    entries += [{"MESSAGE": "x" * 100_000}, {"MESSAGE": list(b"a\xff\nb")}, {"MESSAGE": None}, {}]
    entries += [{"MESSAGE": "y" * 2_000_000}, {"MESSAGE": "end"}]
    (tmp_path / "entries").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))

    async def main() -> None:
        journal = Journal(("sh", "-c", f"cat {tmp_path / 'entries'}"), RealClock())
        lines: list[LogLine] = []
        gaps = 0
        async for response in journal.read(UNIT, LogsRequest(lines=100_000)):
            assert response.ByteSize() <= READ_BYTES_MAX + 8192
            lines += response.lines
            gaps += response.gaps
        text = "".join(line.text + ("" if line.partial else "\n") for line in lines)
        shown = [*(f"line {number}" for number in range(3000)), "x" * 100_000, "a\ufffd", "b", "", "", "end"]
        assert text.split("\n")[:-1] == shown
        assert gaps == 1
        assert lines[7].time.ToNanoseconds() == 7_000

    asyncio.run(main())


def test_a_follow_that_is_closed_leaves_no_process(journald: Journald) -> None:
    async def main() -> None:
        journal = Journal(journald.journalctl, RealClock())
        following = journal.read(UNIT, LogsRequest(lines=1, follow=True))
        await anext(following)
        waiting = asyncio.ensure_future(anext(following))
        await until(lambda: _running(UNIT))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await following.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert not await _running(UNIT)

    asyncio.run(main())


def test_a_missing_or_failing_journalctl_is_told() -> None:
    async def main() -> None:
        with pytest.raises(UnavailableError, match=r"cannot read the journal: /nonexistent/journalctl: No such file"):
            await texts(Journal(("/nonexistent/journalctl",), RealClock()))
        assert await Journal(("/nonexistent/journalctl",), RealClock()).tail(UNIT, "0" * 32) == []
        with pytest.raises(FailedPreconditionError, match="journalctl ended with status 7: it is broken"):
            await texts(Journal(("sh", "-c", "echo it is broken >&2; exit 7"), RealClock()))

    asyncio.run(main())


def _follow(journal: Journal) -> Any:
    async def lines() -> Any:
        async with aclosing(journal.read(UNIT, LogsRequest(lines=1, follow=True))) as responses:  # type: ignore[type-var]
            async for response in responses:
                for line in response.lines:
                    yield line

    return lines()


async def _has(journal: Journal, text: str, unit: str = UNIT) -> bool:
    return text in await texts(journal, unit)


async def _running(unit: str) -> bool:
    """True if a journalctl of this process follows that unit."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--follow" in command and f"--unit={unit}".encode() in command:
            return True
    return False
