"""Events: occurrences that decisions tell of, made into objects that people read. An event may be lost, so that none
holds up a decision, an action or a call.

A decision is level-triggered, and says the same at each call for as long as it is so. An occurrence is counted when the
last decision about its key did not have it. Equal words about one object, of one controller, are one object with a
count: its name is made of them.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, NamedTuple

from rube.api import CoreEvent, Decision, Object, Occurrence, State, UndoneEvent
from rube.api.keys import ObjectKey
from rube.api.times import NS_PER_S
from rube.api.types import pack
from rube.api.well_known import REGARDING_LABEL
from rube.host import Clock

_LOG = logging.getLogger("rube.controllers")
EVENTS_PER_DECISION_MAX: Final = 10
MESSAGE_CHARS_MAX: Final = 1024
_REASON = re.compile(r"[A-Z][A-Za-z0-9]{0,62}\Z")
# The namespace of the events of objects outside namespaces, as in Kubernetes.
_CLUSTER_NAMESPACE: Final = "default"
_NAME_CHARS_MAX: Final = 46
_NAME_DIGITS: Final = 16

# As in client-go's EventSourceObjectSpamFilter: 25 at once about one object, then one in five minutes.
OBJECT_BURST: Final = 25
OBJECT_PAUSE_S: Final = 300.0
OBJECTS_MAX: Final = 4096
"""So many objects are remembered by the rate of their events."""
# A controller's events about all objects together: an owner of 10,000 objects that goes makes few writes.
CONTROLLER_BURST: Final = 500
CONTROLLER_PAUSE_S: Final = 0.1


class Noted(NamedTuple):
    """The occurrences of a decision."""

    still: Sequence[bytes]
    """Those that the last decision had, too, and those that are dropped: the digests."""
    fresh: Sequence[UndoneEvent]


NOTHING_NOTED: Final = Noted((), ())


class Reporter:
    """Makes events of a controller's decisions, as far as their rate allows."""

    def __init__(self, controller: str, host: str, clock: Clock, new_id: Callable[[], str], *, strict: bool) -> None:
        """`strict`: an occurrence that no event can be made of is an error; otherwise it is dropped."""
        self._controller = controller
        self._host = host
        self._new_id = new_id
        self._strict = strict
        self._rates = Rates(clock)

    def note(self, state: State, decision: Decision, told: Collection[bytes]) -> Noted:
        """Returns the occurrences of a decision; `told` are those of the last one. Raises ValueError if `strict`."""
        if not decision.events:
            return NOTHING_NOTED
        still: list[bytes] = []
        fresh: list[UndoneEvent] = []
        for occurrence in self._taken(decision):
            digest = digest_of(occurrence)
            if digest in told or not self._rates.admits(ObjectKey.from_proto(state.key)):
                still.append(digest)
            else:
                fresh.append(UndoneEvent(event=self._event(state, occurrence), digest=digest))
        return Noted(still, fresh)

    def _taken(self, decision: Decision) -> Iterator[Occurrence]:
        for occurrence in decision.events[:EVENTS_PER_DECISION_MAX]:
            if _REASON.match(occurrence.reason):
                yield occurrence
                continue
            wrong = (
                f"controller {self._controller}: an event's reason is one CamelCase word of at most 63 characters, "
                f"not {occurrence.reason!r}"
            )
            if self._strict:
                raise ValueError(wrong)
            _LOG.warning("%s: it is dropped", wrong)

    def _event(self, state: State, occurrence: Occurrence) -> CoreEvent:
        return CoreEvent(
            regarding=state.key,
            regarding_uid=occurrence.uid or state.object.metadata.uid,
            type=occurrence.type,
            reason=occurrence.reason,
            message=occurrence.message[:MESSAGE_CHARS_MAX],
            controller=self._controller,
            instance=self._host,
            first_time=state.now,
            last_time=state.now,
            count=1,
            report=self._new_id(),
        )


class Rates:
    """The rates of one controller's events: about each object, and about all."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all = _Bucket(CONTROLLER_BURST, clock.monotonic_ns())
        self._objects: OrderedDict[ObjectKey, _Bucket] = OrderedDict()

    def admits(self, key: ObjectKey) -> bool:
        """Takes one event about that object, or returns False."""
        now_ns = self._clock.monotonic_ns()
        bucket = self._objects.pop(key, None) or _Bucket(OBJECT_BURST, now_ns)
        self._objects[key] = bucket
        while len(self._objects) > OBJECTS_MAX:
            self._objects.popitem(last=False)
        return bucket.take(now_ns, OBJECT_BURST, OBJECT_PAUSE_S) and self._all.take(
            now_ns, CONTROLLER_BURST, CONTROLLER_PAUSE_S
        )


class _Bucket:
    """A token bucket."""

    def __init__(self, tokens: float, now_ns: int) -> None:
        self._tokens = tokens
        self._then_ns = now_ns

    def take(self, now_ns: int, burst: int, pause_s: float) -> bool:
        """Takes a token if there is one; one comes back in each pause, up to the burst."""
        self._tokens = min(float(burst), self._tokens + (now_ns - self._then_ns) / (pause_s * NS_PER_S))
        self._then_ns = now_ns
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def digest_of(occurrence: Occurrence) -> bytes:
    return hashlib.sha256(occurrence.SerializeToString(deterministic=True)).digest()[:8]


def key_of_event(event: CoreEvent) -> ObjectKey:
    """Returns the key of the object that counts this event and its like."""
    alike = CoreEvent(
        regarding=event.regarding,
        regarding_uid=event.regarding_uid,
        type=event.type,
        reason=event.reason,
        message=event.message,
        controller=event.controller,
    )
    digits = hashlib.sha256(alike.SerializeToString(deterministic=True)).hexdigest()[:_NAME_DIGITS]
    about = event.regarding.name.lower().replace(".", "-").replace("_", "-")[:_NAME_CHARS_MAX].strip("-")
    name = f"{about}-{digits}" if about else digits
    return ObjectKey(CoreEvent.DESCRIPTOR.full_name, event.regarding.namespace or _CLUSTER_NAMESPACE, name)


def object_of(event: CoreEvent) -> Object:
    """Returns the object of an event that was not seen before."""
    key = key_of_event(event)
    obj = Object(spec=pack(event))
    obj.metadata.namespace, obj.metadata.name = key.namespace, key.name
    if event.regarding_uid:
        obj.metadata.labels[REGARDING_LABEL] = event.regarding_uid
    return obj


def counted(stored: Object, event: CoreEvent) -> Object | None:
    """Returns the stored object with one more event of its kind; None if it has counted this one."""
    before = CoreEvent()
    stored.spec.Unpack(before)
    if before.report == event.report:
        return None
    after = CoreEvent()
    after.CopyFrom(event)
    after.count = before.count + event.count
    after.first_time.CopyFrom(min(before.first_time, event.first_time, key=lambda time: time.ToNanoseconds()))
    after.last_time.CopyFrom(max(before.last_time, event.last_time, key=lambda time: time.ToNanoseconds()))
    made = object_of(after)
    made.metadata.annotations.update(stored.metadata.annotations)
    made.metadata.labels.update(stored.metadata.labels)
    return made
