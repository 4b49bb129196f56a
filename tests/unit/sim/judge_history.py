"""Histories for the tests of judges: what was stored, read and told, written in a line each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rube.api import GetRequest, ListRequest, Metadata, Object, Unit, WatchRequest
from rube.api.keys import ObjectKey
from rube.api.types import pack
from rube.sim.judges import (
    Attempt,
    Content,
    Contents,
    Delivery,
    History,
    LogEntry,
    Outcome,
    Stream,
    WatchEvent,
)

S = 1_000_000_000
UNIT = Unit.DESCRIPTOR.full_name


def key_of(name: str) -> str:
    return f"{UNIT}/default/{name}"


@dataclass(slots=True)
class Tale:
    """A history in the making. Objects are units; the version of a revision has the spec `text` and is made once."""

    history: History = field(default_factory=History)

    @property
    def contents(self) -> Contents:
        return self.history.contents

    def version(
        self, name: str, revision: int, text: str = "", *, created: int = 1, tier: str = "", generation: int = 1
    ) -> Content:
        """One version of a unit. `text` is in its spec; by default another one for each revision."""
        metadata = Metadata(
            namespace="default",
            name=name,
            uid=f"{name}-{created}",
            labels={"tier": tier} if tier else {},
            revision=revision,
            create_revision=created,
            generation=generation,
        )
        metadata.create_time.seconds = created
        return self.contents.of(Object(metadata=metadata, spec=pack(Unit(description=text or f"as of {revision}"))))

    def put(self, revision: int, name: str, text: str = "", **more: Any) -> Content:
        """The store's log goes on with that version."""
        before = next((entry.content for entry in reversed(self.history.log) if entry.key == key_of(name)), None)
        generation = before.obj.metadata.generation + 1 if before else 1
        content = self.version(name, revision, text, generation=generation, **more)
        self.history.log.append(LogEntry(revision, content.key, content))
        return content

    def delete(self, revision: int, name: str) -> Content:
        """The store's log goes on with a delete. Returns what a watch tells of it."""
        key = key_of(name)
        before = next(entry.content for entry in reversed(self.history.log) if entry.key == key)
        assert before is not None
        self.history.log.append(LogEntry(revision, key, None))
        ended = Object()
        ended.CopyFrom(before.obj)
        ended.metadata.revision = revision
        return self.contents.of(ended)

    def watch(self, *deliveries: Delivery, client: str = "o-1", at_s: int = 0, **request: object) -> Stream:
        """An observer got that event."""
        stream = Stream(
            client=client,
            request=WatchRequest(type=UNIT, **request),  # type: ignore[arg-type]
            start_ns=at_s * S,
            observer=True,
            deliveries=list(deliveries),
        )
        self.history.streams.append(stream)
        return stream

    def attempt(self, kind: str, request: object, at_s: int = 9, **answer: Any) -> Attempt:
        """A client was answered that, half a second after it had asked."""
        made: dict[str, object] = {"client": "user", "user": True, "outcome": Outcome.OK, **answer}
        attempt = Attempt(
            kind=kind,
            request=request,  # type: ignore[arg-type]
            start_ns=at_s * S,
            end_ns=at_s * S + S // 2,
            **made,  # type: ignore[arg-type]
        )
        self.history.attempts.append(attempt)
        return attempt

    def get(self, name: str, revision: int, *objects: Content, min_revision: int = 0, **answer: Any) -> Attempt:
        request = GetRequest(key=ObjectKey(UNIT, "default", name).to_proto(), min_revision=min_revision)
        return self.attempt("get", request, revision=revision, objects=objects, **answer)

    def list(self, revision: int, *objects: Content, token: str = "", answer: str = "", **request: object) -> Attempt:
        """`token` is that of the request, `answer` the next one."""
        asked = ListRequest(type=UNIT, page_token=token, **request)  # type: ignore[arg-type]
        return self.attempt("list", asked, revision=revision, objects=objects, next_page_token=answer)


def told(revision: int, *events: WatchEvent, end: bool = False, at_s: int = 1) -> Delivery:
    """A response of a watch; `end`: its initial objects end with it."""
    bookmarks = (revision,) if end or not events else ()
    return Delivery(at_ns=at_s * S, events=events, revision=revision, bookmarks=bookmarks, initial_end=end)


def update(content: Content) -> WatchEvent:
    return WatchEvent(content, False)


def ended(content: Content) -> WatchEvent:
    return WatchEvent(content, True)
