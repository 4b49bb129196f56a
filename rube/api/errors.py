"""The one error tree: each class is one gRPC status code, and `reason` tells apart classes that share a code.

On the wire an error is a `google.rpc.Status` with a `google.rpc.ErrorInfo` (domain `rube`), so that foreign clients can
read it too (https://google.aip.dev/193).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:  # loaded where an error is encoded or decoded: a program's help knows errors, and needs no protobuf
    from google.rpc import error_details_pb2

DOMAIN = "rube"


class RubeError(Exception):
    """An error: what is wrong, where, and what to do, in one sentence; `metadata` says the same for programs."""

    code: ClassVar[str] = "UNKNOWN"
    reason: ClassVar[str] = "UNKNOWN"

    def __init__(self, message: str, /, **metadata: str | int) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, str] = {name: str(value) for name, value in sorted(metadata.items())}


class InvalidArgumentError(RubeError):
    """The request is wrong: retrying it cannot help."""

    code = "INVALID_ARGUMENT"
    reason = "INVALID_ARGUMENT"

    def __init__(self, message: str, violations: Sequence[tuple[str, str, str]] = (), /, **metadata: str | int) -> None:
        super().__init__(message, **metadata)
        self.violations = tuple(violations)
        """Errors of objects, in the order of the request: the field's path, what is wrong with it, and the rule's id,
        if it is a rule's. On the wire a google.rpc.BadRequest."""


class NotFoundError(RubeError):
    code = "NOT_FOUND"
    reason = "NOT_FOUND"


class AlreadyExistsError(RubeError):
    code = "ALREADY_EXISTS"
    reason = "ALREADY_EXISTS"


class AbortedError(RubeError):
    """A precondition or fence is stale and nothing was written: read again, decide again.

    Metadata: `key`, and the current `revision` of that key (0: it does not exist); or `fence` and `term`.
    """

    code = "ABORTED"
    reason = "PRECONDITION_STALE"


class CompactedError(RubeError):
    """The revision is older than the store keeps. Metadata: `oldest_revision`, the oldest that can be resumed."""

    code = "OUT_OF_RANGE"
    reason = "REVISION_COMPACTED"


class UnauthenticatedError(RubeError):
    """The caller shows no identity, and without one may do nothing here."""

    code = "UNAUTHENTICATED"
    reason = "UNAUTHENTICATED"


class PermissionDeniedError(RubeError):
    """No rule allows it to the caller. Metadata: `subject`, and of the apiserver `verb` and `type`."""

    code = "PERMISSION_DENIED"
    reason = "PERMISSION_DENIED"


class FailedPreconditionError(RubeError):
    code = "FAILED_PRECONDITION"
    reason = "FAILED_PRECONDITION"


class RevisionAheadError(FailedPreconditionError):
    """The revision is newer than the whole store. Metadata: `revision`, the store's newest."""

    reason = "REVISION_AHEAD"


class StoreChangedError(FailedPreconditionError):
    """The caller's revision is of another store (restored or wiped since): list again. Metadata: `store_id`."""

    reason = "STORE_CHANGED"


class ResourceExhaustedError(RubeError):
    """A limit is exceeded; the message names the limit. Metadata: `limit` and `value` if they are numbers."""

    code = "RESOURCE_EXHAUSTED"
    reason = "LIMIT"


class BusyError(ResourceExhaustedError):
    """The caller asks for more than its share, or its rate: nothing was done, and nothing will be. Metadata:
    `retry_after_ms`, the time to wait; on the wire a google.rpc.RetryInfo, too."""

    reason = "BUSY"

    @property
    def retry_after_s(self) -> float:
        text = self.metadata.get("retry_after_ms", "")
        return int(text) / 1000 if text.isdecimal() else 0.0


class FieldConflictError(FailedPreconditionError):
    """Other owners have fields that an apply would change, and nothing was written.

    Metadata: `conflicts`, how many fields; `fields`, a JSON list of the first of them, each with `key`, `owner` and
    `field`.
    """

    reason = "FIELD_CONFLICT"


class UnavailableError(RubeError):
    """The server cannot be reached or is stopping; a retry may help. Unless it is a NotDoneError, a write may have
    happened.
    """

    code = "UNAVAILABLE"
    reason = "UNAVAILABLE"


class NotDoneError(UnavailableError):
    """The server refused the call before it did anything: nothing was written, and nothing will be.

    Only code that knows it raises this; error texts never decide it. After several attempts of one call the caller gets
    it only if it is true of each.
    """

    reason = "NOT_DONE"


class NotSentError(NotDoneError):
    """The call was not begun, because there was no connection to send it on. Metadata: `why`; `silent` if nothing was
    received at all.

    Only `rube.transport.connect` raises it, which knows that. On the wire it is a plain UnavailableError, since it says
    nothing about the call that a server is answering.
    """

    reason = UnavailableError.reason


class DeadlineExceededError(RubeError):
    """No answer in time. A write may have happened."""

    code = "DEADLINE_EXCEEDED"
    reason = "DEADLINE_EXCEEDED"


class DataLossError(RubeError):
    """Stored bytes are damaged, or durability can no longer be promised."""

    code = "DATA_LOSS"
    reason = "DATA_LOSS"


class UnimplementedError(RubeError):
    code = "UNIMPLEMENTED"
    reason = "UNIMPLEMENTED"


def _classes(root: type[RubeError]) -> list[type[RubeError]]:
    return [root, *(found for child in root.__subclasses__() for found in _classes(child))]


# A class that shares its parent's reason decodes as the parent, which comes last.
_BY_REASON = {(cls.code, cls.reason): cls for cls in reversed(_classes(RubeError))}
_BY_CODE = {cls.code: cls for cls in reversed(_classes(RubeError))}
_CODE_NUMBERS = {
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "UNAVAILABLE": 14,
    "DATA_LOSS": 15,
    "UNAUTHENTICATED": 16,
}


def encode_error(error: RubeError) -> bytes:
    """Returns the value of the trailing metadata `grpc-status-details-bin`: a serialized google.rpc.Status."""
    from google.protobuf import any_pb2
    from google.rpc import error_details_pb2, status_pb2

    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    detail = any_pb2.Any(
        type_url="type.googleapis.com/google.rpc.ErrorInfo",
        value=info.SerializeToString(deterministic=True),
    )
    status = status_pb2.Status(code=_CODE_NUMBERS[error.code], message=error.message, details=[detail])
    if isinstance(error, InvalidArgumentError) and error.violations:
        bad = error_details_pb2.BadRequest()
        for field, text, rule in error.violations:
            bad.field_violations.add(field=field, description=text, reason=rule)
        url = "type.googleapis.com/google.rpc.BadRequest"
        status.details.add(type_url=url, value=bad.SerializeToString(deterministic=True))
    if isinstance(error, BusyError):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(error.retry_after_s * 1000))
        url = "type.googleapis.com/google.rpc.RetryInfo"
        status.details.add(type_url=url, value=retry.SerializeToString(deterministic=True))
    encoded: bytes = status.SerializeToString(deterministic=True)
    return encoded


def decode_error(code: str, message: str, details: bytes | None = None) -> RubeError:
    """Returns the error that a call ended with, from its status code's name, its message and `grpc-status-details-bin`.

    A code that has no class becomes a plain RubeError whose message begins with that code.
    """
    info = _error_info(details) if details else None
    reason = info.reason if info else ""
    cls = _BY_REASON.get((code, reason)) or _BY_CODE.get(code)
    if cls is None:
        return RubeError(f"{code}: {message}")
    metadata = dict(info.metadata) if info else {}
    if details and issubclass(cls, InvalidArgumentError):
        return cls(message, _violations(details), **metadata)
    return cls(message, **metadata)


def decode_status(encoded: bytes) -> RubeError:
    """Reverses `encode_error`. Bytes that do not parse become a plain RubeError that says so."""
    from google.protobuf.message import DecodeError
    from google.rpc import status_pb2

    try:
        status = status_pb2.Status.FromString(encoded)
    except DecodeError:
        return RubeError("received an error that does not parse")
    code = next((name for name, number in _CODE_NUMBERS.items() if number == status.code), "UNKNOWN")
    return decode_error(code, status.message, encoded)


def _violations(details: bytes) -> list[tuple[str, str, str]]:
    from google.rpc import error_details_pb2, status_pb2

    bad = error_details_pb2.BadRequest()
    for detail in status_pb2.Status.FromString(details).details:
        if detail.Unpack(bad):
            return [(each.field, each.description, each.reason) for each in bad.field_violations]
    return []


def _error_info(details: bytes) -> error_details_pb2.ErrorInfo | None:
    from google.rpc import error_details_pb2, status_pb2

    status = status_pb2.Status.FromString(details)
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            return info
    return None
