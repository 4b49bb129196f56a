"""The verbs get and list: reads, consistent or not older than a revision that the client names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from functools import partial

from rube.api import GetRequest, GetResponse, ListRequest, ListResponse
from rube.api.errors import CompactedError, InvalidArgumentError, NotFoundError
from rube.api.keys import ObjectKey
from rube.api.page_token import PageToken, decode_token, encode_token
from rube.server.backend import Reads
from rube.server.config import ApiServerConfig
from rube.server.encoding import get_object, list_item
from rube.server.filters import ObjectFilter
from rube.server.history import forgotten, read_at
from rube.server.objects import size_in_response
from rube.server.owners import decode_owners, known_owners, object_values, owners_key, owners_message
from rube.server.selection import Selection
from rube.server.stored_object import decode_object, labels_of
from rube.server.validation import check_page_size
from rube.store import Page
from rube.transport import Encoded


async def get(backend: Reads, request: GetRequest) -> Encoded:
    """Carries out a GetRequest; returns a GetResponse.

    Raises NotFoundError (metadata `key`), CompactedError, RevisionAheadError.
    """
    store = backend.store
    key = ObjectKey.from_proto(request.key)
    types = await backend.types.require((key.type,))
    types.validate_object_key(key)
    name = key.to_bytes()
    read = (name, owners_key(name)) if request.include_owners else (name,)
    if request.revision:
        check_one_revision(request)
        try:
            pages = [await read_at(store, each, request.revision) for each in read]
        except CompactedError:
            if backend.sight is not None:  # what the store has forgotten of an object says that there was one
                backend.sight.check(key, (await store.get((name,))).records[0])
            raise
        (record, *beside), revision = [page.records[0] if page.records else None for page in pages], request.revision
    else:
        (record, *beside), revision, _ = await store.get(read, min_revision=request.min_revision)
    if backend.sight is not None:
        backend.sight.check(key, record)
    if record is None:
        then = f" at revision {revision}" if request.revision else ""
        raise NotFoundError(f"{key} {'did' if then else 'does'} not exist{then}", key=str(key), revision=revision)
    rest = GetResponse(revision=revision, store_id=store.store_id)
    if request.include_owners:
        stored = decode_object(record)
        if beside[0] is not None:
            stored.owners = decode_owners(name, beside[0].value)
        rest.owners.CopyFrom(owners_message(known_owners(stored, object_values(types, stored))))
    return Encoded(get_object(record) + rest.SerializeToString(deterministic=True))


async def list_objects(
    backend: Reads,
    selection: Selection,
    request: ListRequest,
    narrow: Callable[[ObjectFilter], ObjectFilter] | None = None,
) -> Encoded:
    """Returns a ListResponse: one page of the objects that match, in the order of their keys; every page is of the
    first one's revision.

    A page ends early at a bound of bytes or of objects read, so only an empty `next_page_token` means the end. Raises
    CompactedError for a revision that is compacted (a list that is under way begins again), InvalidArgumentError also
    for a page token of another revision than the one asked for, or older than `min_revision`.
    """
    store, config = backend.store, backend.config
    wanted = ObjectFilter.of(request, await backend.types.require((request.type,)))
    if narrow is not None:
        wanted = narrow(wanted)
    check_page_size(request.page_size)
    check_one_revision(request)
    scope = f"{wanted} {store.store_id}"
    start, revision, min_revision = wanted.start, request.revision, request.min_revision
    if request.page_token:
        token = decode_token(request.page_token, scope)
        if request.revision not in (0, token.revision):
            raise InvalidArgumentError(
                f"page_token is of a list at revision {token.revision}, not {request.revision}: begin a new list "
                "without page_token",
                field="revision",
                revision=token.revision,
            )
        if request.min_revision > token.revision:
            raise InvalidArgumentError(
                f"page_token is of a list at revision {token.revision}, older than min_revision "
                f"{request.min_revision}: begin a new list without page_token",
                field="min_revision",
                revision=token.revision,
            )
        start, revision, min_revision = token.last_key + b"\0", token.revision, 0
    collected = _Collected(wanted, config, min(request.page_size or config.page_size_default, config.page_objects_max))
    try:
        selected = selection.pages(wanted, start, revision=revision, min_revision=min_revision)
        async with aclosing(selected) as pages:
            async for page in pages:
                if collected.take(page):
                    break
    except CompactedError as error:
        if request.revision:
            raise forgotten(request.revision, int(error.metadata["oldest_revision"])) from error
        raise
    rest = ListResponse(revision=collected.revision, store_id=store.store_id)
    if collected.more:
        rest.next_page_token = encode_token(PageToken(collected.revision, collected.last_key), scope)
    return Encoded(b"".join((*collected.items, rest.SerializeToString(deterministic=True))))


def check_one_revision(request: GetRequest | ListRequest) -> None:
    """Raises InvalidArgumentError for a read at a revision and not older than one."""
    if request.revision and request.min_revision:
        raise InvalidArgumentError(
            f"revision {request.revision} asks for exactly that one: leave min_revision out", field="min_revision"
        )


class _Collected:
    """The page of a list that is being filled."""

    def __init__(self, wanted: ObjectFilter, config: ApiServerConfig, objects_max: int) -> None:
        self.items: list[bytes] = []
        """The fields `items` of the ListResponse."""
        self.revision = 0
        self.last_key = b""
        self.more = False
        self._wanted = wanted
        self._objects_left = objects_max
        self._bytes_left = config.page_bytes_max
        self._scanned_left = config.page_scanned_objects_max

    def take(self, page: Page) -> bool:
        """Adds the objects that match; returns True once the response is full."""
        self.revision = page.revision
        for index, record in enumerate(page.records):
            shown = self._wanted.matches_key(record.key) and self._wanted.admits(record, partial(labels_of, record))
            if shown:
                size_bytes = size_in_response(record)
                if self.items and size_bytes > self._bytes_left:
                    self.more = True  # it begins the next page
                    return True
                self.items.append(list_item(record))
                self._objects_left -= 1
                self._bytes_left -= size_bytes
            if shown or self._wanted.sight is None:
                self.last_key = record.key  # a page token names it: it is none that the caller may not see
            self._scanned_left -= 1
            if self._objects_left <= 0 or (self._scanned_left <= 0 and self.last_key):
                self.more = page.more or index + 1 < len(page.records)
                return True
        return False
