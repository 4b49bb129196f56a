"""A supervised unit's output in the form of the driver's port: lines without times, and the tail for its status."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator

from rube.api import LogsRequest, LogsResponse
from rube.api.errors import FailedPreconditionError
from rube.controllers.driver import READ_BYTES_MAX
from rube.host import Clock
from rube.units.drivers.log_lines import TAIL_BYTES_MAX, LineReader, lines_of, responses, tail_of
from rube.units.drivers.supervisor.logs import FOLLOW_POLL_S, READ_FLAGS, UnitLogReader, log_names


async def read_logs(directory: str, request: LogsRequest, clock: Clock) -> AsyncIterator[LogsResponse]:
    """Implements rube.controllers.driver.Driver.logs. Looks for more every FOLLOW_POLL_S seconds."""
    if request.HasField("since"):
        raise FailedPreconditionError(
            f"the log of {os.path.basename(directory)} keeps no times, for its unit runs without systemd: leave out "
            "`since` and ask for a number of lines",
            field="since",
        )
    with UnitLogReader(directory) as reader:
        lines, gaps = LineReader(), 0
        yield LogsResponse()
        data = reader.last(lines_of(request))
        while True:
            for at in range(0, len(data), READ_BYTES_MAX):
                final = not request.follow and at + READ_BYTES_MAX >= len(data)
                for response in responses(lines.feed(data[at : at + READ_BYTES_MAX], final=final)):
                    yield response
            if not request.follow:
                return
            if reader.gaps > gaps:
                yield LogsResponse(gaps=reader.gaps - gaps)
                gaps = reader.gaps
            if not data:
                await clock.sleep(FOLLOW_POLL_S)
            data = reader.more()


def read_tail(directory: str) -> list[str]:
    """Returns the last lines, bounded for a status. Reads no more than a few KiB, and waits for nothing."""
    data = b""
    for name in log_names():
        if len(data) > TAIL_BYTES_MAX:
            break
        data = _end_of(os.path.join(directory, name)) + data
    lines = data.decode(errors="replace").split("\n")
    return tail_of(lines[:-1] if not lines[-1] else lines)


def _end_of(path: str) -> bytes:
    try:
        handle = os.open(path, READ_FLAGS)
    except OSError:
        return b""
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            return b""
        return os.pread(handle, 2 * TAIL_BYTES_MAX, max(0, found.st_size - 2 * TAIL_BYTES_MAX))
    except OSError:
        return b""
    finally:
        os.close(handle)
