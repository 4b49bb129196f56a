"""The contents of objects at their revisions: each version once, compared by its bytes, named by its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rube.api import Metadata, Object
from rube.api.keys import key_of

DIGEST_CHARS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """One version of one object. Two of the same `Contents` are equal where they are the same.

    `obj` is never changed. `body` is its deterministic bytes without both revisions, so that the version that a delete
    event tells of (as it was before, with the revision of its end) has the body of the version that it was.
    """

    key: str
    type: str
    obj: Object
    body: bytes

    @property
    def revision(self) -> int:
        """The revision that its metadata names."""
        return self.obj.metadata.revision

    @property
    def digest(self) -> str:
        """The first characters of the SHA-256 of its deterministic bytes without both revisions."""
        return digest_of(self.body)

    def ends_as(self, other: Content) -> bool:
        """Returns whether they are equal except for the revision of the last change."""
        return self.body == other.body and (self.obj.metadata.create_revision == other.obj.metadata.create_revision)


class Contents:
    """All versions of a run. A version that comes a thousand times is decoded and hashed once."""

    def __init__(self) -> None:
        self._known: dict[bytes, Content] = {}
        self._bodies: dict[bytes, bytes] = {}

    def of(self, obj: Object) -> Content:
        """The version that `obj` is, which may change afterwards."""
        raw = obj.SerializeToString(deterministic=True)
        found = self._known.get(raw)
        if found is None:
            kept = Object.FromString(raw)
            body = without_revisions(kept)
            key = key_of(kept)
            found = Content(str(key), key.type, kept, self._bodies.setdefault(body, body))
            self._known[raw] = found
        return found


def without_revisions(obj: Object) -> bytes:
    """The object's deterministic bytes without its revision and that of its creation."""
    bare = Object()
    bare.CopyFrom(obj)
    bare.metadata.revision = bare.metadata.create_revision = 0
    return bare.SerializeToString(deterministic=True)


def digest_of(data: bytes) -> str:
    """The first characters of the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()[:DIGEST_CHARS]


def difference(expected: Content, found: Content) -> str:
    """Returns how two versions of an object differ: `its spec is 3f… and not a0…`; "" if they are equal."""
    return "; ".join(_differences(expected, found))


def metadata_difference(expected: Content, found: Metadata) -> str:
    """Returns how the metadata of an answer differs from the stored one."""
    return "; ".join(_metadata(expected.obj.metadata, found))


def _differences(expected: Content, found: Content) -> Iterator[str]:
    if expected.key != found.key:
        yield f"it is {found.key} and not {expected.key}"
    for part in ("spec", "status"):
        was, is_ = getattr(expected.obj, part), getattr(found.obj, part)
        if was != is_:
            yield f"its {part} is {_shown(is_)} and not {_shown(was)}"
    yield from _metadata(expected.obj.metadata, found.obj.metadata)


def _metadata(expected: Metadata, found: Metadata) -> Iterator[str]:
    for field in Metadata.DESCRIPTOR.fields:
        was, is_ = getattr(expected, field.name), getattr(found, field.name)
        if was != is_:
            yield f"its {field.name} is {_shown(is_)} and not {_shown(was)}"


def _shown(value: Any) -> str:
    """A field's value in a line: a scalar or a map as it is, a message by its digest."""
    if hasattr(value, "SerializeToString"):
        data = value.SerializeToString(deterministic=True)
        return digest_of(data) if data else "empty"
    if hasattr(value, "items"):
        return "{" + ", ".join(f"{key}={value[key]}" for key in sorted(value)) + "}"
    if isinstance(value, int):
        return str(value)
    return repr(value)
