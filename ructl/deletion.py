"""The wait of an object under deletion, in words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Final

from rube.api import ListRequest, Object
from rube.api.keys import key_of
from rube.api.well_known import CONTENTS_FINALIZER, EVERY_TYPE, FOREGROUND_FINALIZER, NAMESPACE_TYPE, ORPHAN_FINALIZER
from ructl.connection import Connection

_OWN: Final = {
    FOREGROUND_FINALIZER: "what it owns and what blocks it is deleted first",
    ORPHAN_FINALIZER: "what it owns forgets it first",
    CONTENTS_FINALIZER: "what is in it is deleted first",
}
_NAMED_MAX: Final = 10
_PAGES_MAX: Final = 20


def waits_for(finalizers: Iterable[str]) -> str:
    """Returns the finalizers in words."""
    said = [f"{name} ({_OWN.get(name, 'whoever set it removes it')})" for name in finalizers]
    return "waits for " + ", ".join(said)


async def blocked_by(connection: Connection, obj: Object) -> list[str]:
    """Returns the objects that hold up a deletion, each in a line, of those that the garbage collector waits for."""
    found: list[str] = []
    async for other in _others(connection, obj):
        if _blocks(other, obj):
            held = f" ({waits_for(list(other.metadata.finalizers))})" if other.metadata.HasField("delete_time") else ""
            found.append(f"{key_of(other)}{held}")
    more = len(found) - _NAMED_MAX
    return [*found[:_NAMED_MAX], *([f"and {more} more"] if more > 0 else [])]


async def _others(connection: Connection, obj: Object) -> AsyncIterator[Object]:
    """Yields the objects that can be in the way."""
    is_namespace = key_of(obj).type == NAMESPACE_TYPE
    request = ListRequest(type=EVERY_TYPE, namespace=obj.metadata.name if is_namespace else obj.metadata.namespace)
    for _ in range(_PAGES_MAX):
        page = await connection.list_page(request)
        for item in page.items:
            yield item
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _blocks(other: Object, obj: Object) -> bool:
    metadata = obj.metadata
    if CONTENTS_FINALIZER in metadata.finalizers and other.metadata.namespace == metadata.name:
        return key_of(obj).type == NAMESPACE_TYPE
    for owner in other.metadata.owner_references:
        if owner.uid == metadata.uid:
            return owner.block_deletion or ORPHAN_FINALIZER in metadata.finalizers
    return False
