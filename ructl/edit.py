"""Changes of a stored object by read-modify-write."""

from __future__ import annotations

from collections.abc import Callable

from rube.api import Metadata, Object, PutRequest
from rube.api.errors import AbortedError
from rube.api.keys import key_of
from ructl.connection import Connection

ATTEMPTS_MAX = 8
"""To write while others write to the object, its node's reports among them."""


async def edit(
    connection: Connection, obj: Object, change: Callable[[Object], bool], *, dry_run: bool = False
) -> Metadata | None:
    """Changes the object in place and puts it, with `dry_run` only to have it checked; returns None if `change` says
    that nothing has to be done.

    If another writer came between, the object is read and changed again. Raises AbortedError after ATTEMPTS_MAX, and if
    another object has taken the name.
    """
    uid = obj.metadata.uid
    for attempt in range(ATTEMPTS_MAX):
        wanted = Object()
        wanted.CopyFrom(obj)
        wanted.ClearField("status")
        if not change(wanted):
            return None
        try:
            return (await connection.put(PutRequest(objects=[wanted], validate_only=dry_run))).metadata[0]
        except AbortedError:
            if attempt + 1 == ATTEMPTS_MAX:
                raise
            obj = await connection.get(key_of(obj))
            if obj.metadata.uid != uid:
                raise
    raise AssertionError("the last attempt returns or raises")
