"""The answers of the node's own API in pieces that fit a message: pages of lists, responses of watches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rube.api import Event, ListRequest, ListResponse, Object, WatchResponse
from rube.api.errors import CompactedError, InvalidArgumentError, RevisionAheadError, StoreChangedError
from rube.api.keys import key_of
from rube.api.page_token import PageToken, decode_token, encode_token
from rube.controllers.ports import Position
from rube.host.network import RESPONSE_BYTES_MAX

PAGE_OBJECTS_DEFAULT = 500
PAGE_OBJECTS_MAX = 5_000
# Bytes around an object in a response.
_AROUND_BYTES_MAX = 64


def check_revision(position: Position, wanted: int) -> None:
    """Raises RevisionAheadError if the copy is older than that revision: only an apiserver could wait for it."""
    if wanted > position.revision:
        raise RevisionAheadError(
            f"the copy is at revision {position.revision}, not yet at {wanted}", revision=position.revision
        )


def check_past(position: Position, wanted: int) -> None:
    """Raises CompactedError or RevisionAheadError for a read at another revision than the copy's."""
    check_revision(position, wanted)
    if wanted and wanted != position.revision:
        raise CompactedError(
            f"a node's copy keeps no history, and is at revision {position.revision}: ask an apiserver (--server) for "
            f"{wanted}",
            oldest_revision=position.revision,
        )


def check_store(position: Position, wanted: str) -> None:
    """Raises StoreChangedError if the request names another store than the copy's."""
    if wanted and wanted != position.store_id:
        raise StoreChangedError("the copy is of another store: list again", store_id=position.store_id)


def page_of(objects: Sequence[Object], request: ListRequest, position: Position) -> ListResponse:
    """Returns one page of the objects, by key as an apiserver orders them.

    Raises CompactedError for a page of an earlier state of the copy, which keeps no history: begin again.
    """
    if request.page_size < 0:
        raise InvalidArgumentError(f"page_size is {request.page_size}, less than 0", field="page_size")
    check_past(position, request.revision)
    scope = f"{request.type}/{request.namespace}/{request.name}?{request.label_selector} {position.store_id}"
    after = b""
    if request.page_token:
        token = decode_token(request.page_token, scope)
        if token.revision != position.revision:
            raise CompactedError(
                f"a node's copy keeps no history, and has moved from revision {token.revision} to {position.revision}: "
                "begin the list again",
                oldest_revision=position.revision,
            )
        after = token.last_key
    check_revision(position, request.min_revision)
    objects_max = min(request.page_size or PAGE_OBJECTS_DEFAULT, PAGE_OBJECTS_MAX)
    response = ListResponse(revision=position.revision, store_id=position.store_id)
    size_bytes, last_key = 0, b""
    for key, obj in sorted(((key_of(obj).to_bytes(), obj) for obj in objects), key=lambda pair: pair[0]):
        if key <= after:
            continue
        size_bytes += obj.ByteSize() + _AROUND_BYTES_MAX
        if response.items and (len(response.items) >= objects_max or size_bytes > RESPONSE_BYTES_MAX):
            response.next_page_token = encode_token(PageToken(position.revision, last_key), scope)
            break
        response.items.append(obj)
        last_key = key
    return response


def responses_of(events: Sequence[Event], *, before: int, position: Position) -> Iterator[WatchResponse]:
    """Yields the events in responses of bounded size. Only the last one has the position's revision; the others have
    `before`, since they are incomplete."""
    response = WatchResponse(revision=before, store_id=position.store_id)
    size_bytes = 0
    for event in events:
        event_bytes = event.ByteSize() + _AROUND_BYTES_MAX
        if response.events and size_bytes + event_bytes > RESPONSE_BYTES_MAX:
            yield response
            response = WatchResponse(revision=before, store_id=position.store_id)
            size_bytes = 0
        response.events.append(event)
        size_bytes += event_bytes
    response.revision = position.revision
    yield response
