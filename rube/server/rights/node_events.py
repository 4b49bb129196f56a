"""The events that a node may get and put without a binding: those about what is bound to it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from rube.api import CoreEvent, Object
from rube.api.keys import ObjectKey
from rube.api.types import Types
from rube.server.rights.policy import Policy
from rube.server.rights.sight import Labels, Sight, denied
from rube.server.rights.subjects import Subject
from rube.server.stored_object import decode_object
from rube.server.writes import Current, Intent, IntentWriter, Outcome
from rube.store import Record


class NodeEvents(Sight):
    """The sight of the events about some objects, beside what rules allow."""

    __slots__ = ("_about", "subject", "verb")

    def __init__(
        self,
        policy: Policy,
        subject: Subject,
        verb: str,
        types: Callable[[], Types],
        about: Collection[ObjectKey | None],
    ) -> None:
        super().__init__(policy, subject, verb, types)
        self.subject = subject
        self.verb = verb
        self._about = about

    def has(self, spec: Any) -> bool:
        """Returns whether an event is about one of the objects."""
        return about_of(spec) in self._about

    def sees(self, record: Record, labels: Labels | None = None) -> bool:
        return self.has(decode_object(record).spec_any()) or super().sees(record, labels)

    def sees_object(self, obj: Object) -> bool:
        return self.has(obj.spec) or super().sees_object(obj)


class EventWriter:
    """A writer of a node's own events, which leaves those of others as they are."""

    def __init__(self, writer: IntentWriter, events: NodeEvents) -> None:
        self._writer = writer
        self._events = events

    async def write(self, intent: Intent) -> Outcome:
        events = self._events

        def admit(current: Current) -> None:
            stored = [(raw, current[raw]) for raw in intent.keys]
            refused = [raw for raw, obj in stored if obj is not None and not events.has(obj.spec_any())]
            if refused:
                raise denied(events.subject, events.verb, [ObjectKey.from_bytes(raw) for raw in refused])

        return await self._writer.write(intent._replace(admit=admit))


def about_of(spec: Any) -> ObjectKey | None:
    """Returns the object that an event is about; None for what is no event."""
    event = CoreEvent()
    try:
        return ObjectKey.from_proto(event.regarding) if spec.Unpack(event) else None
    except DecodeError:
        return None
