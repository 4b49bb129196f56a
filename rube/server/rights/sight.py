"""The objects that a caller may see of those that it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rube.api import Object
from rube.api.errors import PermissionDeniedError
from rube.api.keys import ObjectKey, key_of
from rube.api.types import Types
from rube.server.rights.conditions import Ask
from rube.server.rights.grants import Grant
from rube.server.rights.policy import Policy
from rube.server.rights.subjects import Subject
from rube.server.stored_object import StoredObject, decode_object, labels_of, spec_field
from rube.store import Record

Labels = Callable[[], Mapping[str, str]]


class Sight:
    """One caller's, for one verb, under one policy. Compared by identity: watches of one caller share one."""

    __slots__ = ("_note", "_policy", "_subject", "_types", "_verb")

    def __init__(
        self,
        policy: Policy,
        subject: Subject,
        verb: str,
        types: Callable[[], Types],
        note: Callable[[Grant | None], None] | None = None,
    ) -> None:
        """`note` takes each rule that shows an object; None for lists and watches, where they are too many."""
        self._note = note
        self._policy = policy
        self._subject = subject
        self._verb = verb
        self._types = types

    def sees(self, record: Record, labels: Labels | None = None) -> bool:
        """Returns whether the caller may see a record's object. `labels` returns its labels, if that is cheaper."""
        key = ObjectKey.from_bytes(record.key)
        grants = self._policy.access(self._subject, self._verb, key.type).possible(key.namespace, key.name)
        if not grants:
            return False
        if all(grant.condition is None for grant in grants):
            having = labels() if labels is not None else labels_of(record)
            return self._noted(next((grant for grant in grants if grant.selector.matches(having)), None))
        return self._allows(key, decode_object(record))

    def sees_object(self, obj: Object) -> bool:
        """Returns the same for an object."""
        stored = StoredObject(obj.metadata, spec_field(obj.spec.type_url, obj.spec.value))
        return self._allows(key_of(obj), stored)

    def check(self, key: ObjectKey, record: Record | None) -> None:
        """Raises PermissionDeniedError for an object that the caller may not see, and for one that is absent."""
        if record is None or not self.sees(record):
            raise self.denied(key)

    def denied(self, key: ObjectKey) -> PermissionDeniedError:
        return denied(self._subject, self._verb, [key])

    def _allows(self, key: ObjectKey, obj: StoredObject) -> bool:
        ask = Ask(self._subject, self._verb, key, self._types().get(key.type), obj)
        return self._noted(self._policy.access(self._subject, self._verb, key.type).allows(ask))

    def _noted(self, grant: Grant | None) -> bool:
        if self._note is not None:
            self._note(grant)
        return grant is not None


def denied(subject: Subject, verb: str, keys: list[ObjectKey]) -> PermissionDeniedError:
    """Returns the error that names everything which is refused, and the command that says why."""
    first = keys[0]
    shown = ", ".join(str(key) for key in keys[:NAMED_MAX])
    more = f" and {len(keys) - NAMED_MAX} more" if len(keys) > NAMED_MAX else ""
    place = f" -n {first.namespace}" if first.namespace else ""
    asked = f"ructl auth why {subject} {verb} {first.type}{place} {first.name}".rstrip()
    return PermissionDeniedError(
        f"{subject} may not {verb} {shown}{more}: no rule allows it; '{asked}' says what is missing",
        subject=str(subject),
        verb=verb,
        type=first.type,
    )


NAMED_MAX = 10
"""So many refused objects are named in one error, which travels in gRPC's headers (8 KiB)."""
