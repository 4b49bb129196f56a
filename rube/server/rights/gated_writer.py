"""Writes of callers whose rights depend on the objects: judged with what is stored, in the transaction of the write."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rube.api.errors import FailedPreconditionError
from rube.api.keys import ObjectKey
from rube.api.types import Types
from rube.api.well_known import BINDING_TYPE, ROLE_TYPE
from rube.server.rights.conditions import Ask
from rube.server.rights.grants import CREATING_VERBS, Grant
from rube.server.rights.kept import KeptPolicy
from rube.server.rights.policy import Policy
from rube.server.rights.sight import denied
from rube.server.rights.subjects import Subject
from rube.server.writes import Current, Decided, Intent, IntentWriter, Outcome


class Caller(NamedTuple):
    """The caller of a write, and its rights at the time of the call."""

    subject: Subject
    verb: str
    policy: Policy
    types: Callable[[], Types]
    note: Callable[[Grant | None], None]
    """Takes each rule that allows it."""


class GatedWriter:
    """A writer for one call. It has no other way of writing than `write`."""

    def __init__(self, writer: IntentWriter, kept: KeptPolicy, caller: Caller) -> None:
        self._writer = writer
        self._kept = kept
        self._caller = caller

    async def write(self, intent: Intent) -> Outcome:
        """Carries out the intent if the caller may: raises PermissionDeniedError before anything that the errors of a
        write would show of an object, or once it is decided what would be stored."""
        own = [(raw, ObjectKey.from_bytes(raw)) for raw in intent.keys]
        others = [raw for raw, _ in intent.preconditions if raw not in intent.keys]

        def admit(current: Current) -> None:
            refused = [key for raw, key in own if not self._may_begin(key, raw, current)]
            if refused:
                raise denied(self._caller.subject, self._caller.verb, refused)
            unseen = [key for key in map(ObjectKey.from_bytes, others) if not self._may_see(key, current)]
            if unseen:
                raise denied(self._caller.subject, "get", unseen)

        def decide(current: Current) -> Decided:
            decided = intent.decide(current)
            refused = [key for raw, key in own if not self._may_end(key, raw, current, decided)]
            if refused:
                raise denied(self._caller.subject, self._caller.verb, refused)
            self._check_lock_out(decided)
            return decided

        outcome = await self._writer.write(intent._replace(admit=admit, decide=decide))
        if not intent.validate_only and any(raw.startswith(_RIGHTS) for raw in outcome.decided):
            await self._kept.reach(outcome.revision)
        return outcome

    def _may_begin(self, key: ObjectKey, raw: bytes, current: Current) -> bool:
        """Returns whether some rule may allow it, as far as the stored object tells."""
        caller, old = self._caller, current[raw]
        grants = caller.policy.access(caller.subject, caller.verb, key.type).possible(key.namespace, key.name)
        if old is None:
            creates = caller.verb in CREATING_VERBS
            return any(creates or grant.plain for grant in grants)
        return any(grant.selector.matches(old.metadata.labels) for grant in grants)

    def _may_end(self, key: ObjectKey, raw: bytes, current: Current, decided: Decided) -> bool:
        old = current[raw]
        return self._allows(Ask(self._caller.subject, self._caller.verb, key, None, old, decided.get(raw, old)))

    def _may_see(self, key: ObjectKey, current: Current) -> bool:
        old = current[key.to_bytes()]
        ask = Ask(self._caller.subject, "get", key, None, old)
        access = self._caller.policy.access(self._caller.subject, "get", key.type)
        return access.plain(key.namespace, key.name) is not None or (old is not None and self._allows(ask))

    def _allows(self, ask: Ask) -> bool:
        caller = self._caller
        ask = ask._replace(kind=caller.types().get(ask.key.type))
        grant = caller.policy.access(caller.subject, ask.verb, ask.key.type).allows(ask)
        caller.note(grant)
        return grant is not None

    def _check_lock_out(self, decided: Decided) -> None:
        """Raises FailedPreconditionError where a caller would take its own right to manage rights from itself."""
        caller = self._caller
        if not any(raw.startswith(_RIGHTS) for raw in decided) or not caller.policy.manages_rights(caller.subject):
            return
        if not self._kept.now.with_objects(decided).manages_rights(caller.subject):
            raise FailedPreconditionError(
                f"{caller.subject} would take from itself the right to write roles and bindings, and perhaps no caller "
                "is left that could give it back: let another administrator do it"
            )


_RIGHTS = tuple(f"{name}/".encode() for name in (ROLE_TYPE, BINDING_TYPE))
