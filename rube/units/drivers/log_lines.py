"""Lines of logs: from the bytes that a unit prints, and in responses of a bounded size."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence

from rube.api import LogLine, LogsRequest, LogsResponse, UnitStatus
from rube.controllers.driver import READ_BYTES_MAX

LINES_DEFAULT = 100
TAIL_LINES_MAX = 10
TAIL_BYTES_MAX = 2048
"""The bounds of api.systemd.UnitStatus.log_tail."""
PIECE_BYTES_MAX = 16 * 1024
"""A longer line travels in pieces."""
LINE_OVERHEAD_BYTES = 24
"""The cost of a line beside its text: its time and its length."""


def lines_of(request: LogsRequest) -> int:
    """Returns how many of the last lines the request asks for."""
    return request.lines if request.HasField("lines") else LINES_DEFAULT


class LineReader:
    """Turns bytes as they come into lines; bytes without a newline yet come as a line that is `partial`."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes, *, final: bool = False) -> list[LogLine]:
        """Returns the lines. `final`: nothing follows, so that the last line is complete."""
        *whole, rest = self._decoder.decode(data, final).split("\n")
        lines = [LogLine(text=text) for text in whole]
        if rest:
            lines.append(LogLine(text=rest, partial=not final))
        return lines


def responses(lines: Iterable[LogLine]) -> Iterator[LogsResponse]:
    """Yields the lines in responses of at most READ_BYTES_MAX bytes, long ones in pieces; none for no lines."""
    response, room = LogsResponse(), READ_BYTES_MAX
    for line in lines:
        for piece in _pieces(line):
            size = len(piece.text.encode()) + LINE_OVERHEAD_BYTES
            if size > room:
                yield response
                response, room = LogsResponse(), READ_BYTES_MAX
            response.lines.append(piece)
            room -= size
    if response.lines:
        yield response


def tail_of(lines: Sequence[str]) -> list[str]:
    """Returns the last of the lines, within the bounds of a status. A line that is too long loses its beginning."""
    tail: list[str] = []
    room = TAIL_BYTES_MAX
    for line in reversed(lines[-TAIL_LINES_MAX:]):
        encoded = line.encode()
        if len(encoded) > room:
            if not tail:
                tail.append(encoded[-room:].decode(errors="ignore"))
            break
        tail.append(line)
        room -= len(encoded)
    return tail[::-1]


def has_failed(status: UnitStatus) -> bool:
    """Returns whether the unit is failed, or waits to be started again after it failed: its status then has a
    log_tail."""
    return status.active_state == "failed" or (status.sub_state == "auto-restart" and status.result != "success")


def _pieces(line: LogLine) -> Iterator[LogLine]:
    encoded = line.text.encode()
    if len(encoded) <= PIECE_BYTES_MAX:
        yield line
        return
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for at in range(0, len(encoded), PIECE_BYTES_MAX):
        last = at + PIECE_BYTES_MAX >= len(encoded)
        piece = LogLine(text=decoder.decode(encoded[at : at + PIECE_BYTES_MAX], last))
        if line.HasField("time"):
            piece.time.CopyFrom(line.time)
        piece.partial = line.partial or not last
        yield piece
