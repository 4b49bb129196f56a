"""The requests and answers of every client of the API, recorded where its calls end: below all code of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from grpc import StatusCode

from rube.api import (
    ApplyResponse,
    DeleteResponse,
    Deletion,
    GetResponse,
    ListResponse,
    PatchResponse,
    PutResponse,
    UpdateLifecycleResponse,
    UpdateStatusResponse,
    WatchResponse,
)
from rube.api.errors import (
    DataLossError,
    DeadlineExceededError,
    NotDoneError,
    RubeError,
    UnavailableError,
    decode_error,
)
from rube.api.well_known import EVERY_TYPE
from rube.sim.judges import Attempt, Contents, Delivery, History, Outcome, Stream, WatchEvent
from rube.sim.world.network.frames import Pairs
from rube.sim.world.network.tap import CallTap
from rube.transport.statuses import DETAILS_KEY

_SERVICE = "/api.Api/"
_KINDS = {
    "Put": "put",
    "Patch": "patch",
    "Apply": "apply",
    "Delete": "delete",
    "UpdateStatus": "update_status",
    "UpdateLifecycle": "update_lifecycle",
    "RenewLease": "renew_lease",
    "Get": "get",
    "List": "list",
}
# After these codes it is unknown whether the call was carried out.
_UNKNOWN = (UnavailableError, DeadlineExceededError, DataLossError)
_UNKNOWN_CODES = frozenset({StatusCode.CANCELLED, StatusCode.UNKNOWN, StatusCode.INTERNAL})


@dataclass(slots=True, kw_only=True)
class Wire:
    """`rube.sim.world.network.Tap` of one client: writes down its calls of api.Api in the history."""

    client: str
    history: History
    now_ns: Callable[[], int]
    user: bool = False
    """True if it is one of the users, or of the observers."""
    observer: bool = False
    relay: bool = False
    """True for a relay: its own calls, which are of every type, are written down, and none that it hands on."""
    call: int = 0
    """The call of rube.client, whose attempts are recorded: counted by a user that makes one after the other."""

    def next_call(self) -> None:
        """Counts attempts from now on to another call."""
        self.call += 1

    def begun(self, method: str, request: Any, target: str) -> CallTap | None:
        if not method.startswith(_SERVICE):
            return None
        name = method.removeprefix(_SERVICE)
        if self.relay and (name not in ("List", "Watch") or request.type != EVERY_TYPE):
            return None
        if name == "Watch":
            stream = Stream(
                client=self.client,
                request=_copy(request),
                start_ns=self.now_ns(),
                server=target,
                observer=self.observer,
            )
            self.history.streams.append(stream)
            return _WatchTap(stream, self.history.contents, self.now_ns)
        if name not in _KINDS:
            return None
        attempt = Attempt(
            client=self.client,
            kind=_KINDS[name],
            request=_copy(request),
            start_ns=self.now_ns(),
            user=self.user,
            server=target,
            call=self.call,
        )
        self.history.attempts.append(attempt)
        return _UnaryTap(attempt, self.history.contents, self.now_ns)


@dataclass(frozen=True, slots=True)
class _UnaryTap:
    attempt: Attempt
    contents: Contents
    now_ns: Callable[[], int]

    def received(self, message: Any) -> None:
        attempt = self.attempt
        attempt.end_ns, attempt.outcome = self.now_ns(), Outcome.OK
        attempt.revision, attempt.store_id = message.revision, message.store_id
        if isinstance(message, GetResponse | ListResponse):
            attempt.age_ns = _age_ns(message)
        if isinstance(message, GetResponse):
            attempt.objects = (self.contents.of(message.object),)
        elif isinstance(message, ListResponse):
            attempt.objects = tuple(self.contents.of(obj) for obj in message.items)
            attempt.next_page_token = message.next_page_token
        elif isinstance(message, PatchResponse):
            attempt.metadata = (_copy(message.object.metadata),)
        elif isinstance(message, PutResponse | ApplyResponse):
            attempt.metadata = tuple(_copy(metadata) for metadata in message.metadata)
        elif isinstance(message, UpdateStatusResponse):
            attempt.metadata = (_copy(message.metadata),)
        elif isinstance(message, UpdateLifecycleResponse):
            attempt.metadata = (_copy(message.metadata),)
            attempt.deletions = (Deletion(uid=message.metadata.uid, gone=message.gone),)
        elif isinstance(message, DeleteResponse):
            attempt.deletions = tuple(_copy(deletion) for deletion in message.deletions)

    def ended(self, code: StatusCode, details: str, trailing: Pairs) -> None:
        if code is StatusCode.OK:
            return
        error = error_of(code, details, trailing)
        self.attempt.end_ns, self.attempt.error = self.now_ns(), error
        unknown = isinstance(error, _UNKNOWN) or code in _UNKNOWN_CODES
        not_done = isinstance(error, NotDoneError)
        self.attempt.outcome = Outcome.UNKNOWN if unknown and not not_done else Outcome.FAILED


@dataclass(frozen=True, slots=True)
class _WatchTap:
    stream: Stream
    contents: Contents
    now_ns: Callable[[], int]

    def received(self, message: Any) -> None:
        response: WatchResponse = message
        events: list[WatchEvent] = []
        bookmarks: list[int] = []
        initial_end = False
        for event in response.events:
            kind = event.WhichOneof("event")
            if kind == "bookmark":
                bookmarks.append(event.bookmark.revision)
                initial_end = initial_end or event.bookmark.initial_end
            else:
                obj = event.delete if kind == "delete" else event.update
                events.append(WatchEvent(self.contents.of(obj), kind == "delete"))
        self.stream.deliveries.append(
            Delivery(
                at_ns=self.now_ns(),
                events=tuple(events),
                revision=response.revision,
                store_id=response.store_id,
                bookmarks=tuple(bookmarks),
                initial_end=initial_end,
                age_ns=_age_ns(response),
            )
        )

    def ended(self, code: StatusCode, details: str, trailing: Pairs) -> None:
        self.stream.end_ns = self.now_ns()
        if code is not StatusCode.OK:
            self.stream.error = error_of(code, details, trailing)


def error_of(code: StatusCode, details: str, trailing: Pairs) -> RubeError:
    """The error that a call ended with, as its status and its trailing metadata say."""
    encoded = next((value for key, value in trailing if key == DETAILS_KEY and isinstance(value, bytes)), None)
    return decode_error(code.name, details, encoded)


def _age_ns(response: GetResponse | ListResponse | WatchResponse) -> int | None:
    return response.freshness.age.ToNanoseconds() if response.HasField("freshness") else None


def _copy(message: Message) -> Any:
    """A message of its own: callers may use theirs again."""
    copied = type(message)()
    copied.CopyFrom(message)
    return copied
