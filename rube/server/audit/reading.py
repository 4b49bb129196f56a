"""The lines of an audit log that a caller asks for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from rube.api import AuditRequest, AuditResponse
from rube.api.errors import DataLossError, UnavailableError
from rube.server.audit.lines import fields_of
from rube.server.audit.log import AuditLog
from rube.server.rights.grants import fits

# More than the longest line has.
_READ_BYTES: Final = 1024 * 1024


async def read_lines(log: AuditLog, request: AuditRequest) -> AsyncGenerator[AuditResponse, None]:
    """Yields the lines, in their order; one response may have none: a sign of life. Follows if that is asked for, and
    reads the files at the caller's pace. Raises UnavailableError for a log that cannot be read."""
    since = request.since.ToNanoseconds() if request.HasField("since") else 0
    after = request.after_sequence
    try:
        part, place = _first_part(log, since, after), 0
        while True:
            growth = log.growth
            data = _read(log, part, place)
            lines, place = _whole(data, place)
            found = [line for line in lines if _wanted(line, request, since, after)]
            yield AuditResponse(lines=[line.decode(errors="replace") for line in found])
            if lines:
                continue
            following = [each for each in log.files.parts() if each > part]
            if following:
                part, place = following[0], 0
            elif request.follow:
                await growth.wait()
            else:
                return
    except OSError as error:
        raise UnavailableError(f"the audit log cannot be read: {error.strerror or error}") from error


def _first_part(log: AuditLog, since: int, after: int) -> int:
    """Returns the last file that may begin before what is asked for."""
    parts = log.files.parts()
    first = parts[0]
    for part in parts[1:]:
        if part <= after + 1 or (since and _time_of(log, part) <= since):
            first = part
    return first


def _time_of(log: AuditLog, part: int) -> int:
    line, *_ = log.files.read(part, 0, _READ_BYTES).split(b"\n")
    return _nanoseconds(fields_of(line))


def _read(log: AuditLog, part: int, place: int) -> bytes:
    try:
        return log.files.read(part, place, _READ_BYTES)
    except FileNotFoundError:
        return b""  # the oldest file had to go: on with the next


def _whole(data: bytes, place: int) -> tuple[list[bytes], int]:
    """Returns the whole lines of what was read, and the place after them."""
    end = data.rfind(b"\n") + 1
    return data[:end].split(b"\n")[:-1], place + end


def _wanted(line: bytes, request: AuditRequest, since: int, after: int) -> bool:
    try:
        fields = fields_of(line)
    except DataLossError:
        return True  # whoever reads the log should see that a line is damaged
    if fields["sequence"] <= after or (since and _nanoseconds(fields) < since):
        return False
    if fields.get("kind"):
        return not _is_narrow(request)
    if request.failed and fields.get("code") == "OK":
        return False
    if request.subjects and not any(fits(each, str(fields.get("subject"))) for each in request.subjects):
        return False
    if request.verbs and fields.get("verb") not in request.verbs:
        return False
    return _wants_objects(fields, request)


def _wants_objects(fields: dict[str, Any], request: AuditRequest) -> bool:
    if not (request.types or request.namespace or request.name):
        return True
    return any(
        (not request.types or each.get("type") in request.types)
        and request.namespace in ("", each.get("namespace"))
        and request.name in ("", each.get("name"))
        for each in fields.get("objects", ())
    )


def _is_narrow(request: AuditRequest) -> bool:
    wanted = (request.subjects, request.verbs, request.types, request.namespace, request.name, request.failed)
    return any(wanted)


def _nanoseconds(fields: dict[str, Any]) -> int:
    time = Timestamp()
    try:
        time.FromJsonString(str(fields.get("time")))
    except ValueError:
        return 0
    return time.ToNanoseconds()
