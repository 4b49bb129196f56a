"""The words for a message on the wire: its method, the objects that it names, its revision, its status."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message

from rube.sim.world.network.frames import Frame, FrameKind

OBJECTS_MAX = 12
"""So many objects of a message are named; the others are counted."""
DEPTH_MAX = 5
STREAMS_MAX = 100_000
"""So many streams are remembered; older ones are spoken of without their method."""
_FIGURES_MAX = 3
_UNTOLD = frozenset({"revision", "store_id", "uid", "session", "request_id"})
_TYPE = re.compile(r"(?:\w+[./])*(\w+)$")
_KEY = re.compile(r"\b(?:\w+\.)+(\w+/[\w.-]*/[\w.-]+)")


def short_key(text: str) -> str:
    """The text with its objects' types without their packages: `api.systemd.Unit/default/web-1` is
    `Unit/default/web-1`."""
    return _KEY.sub(r"\1", text)


class FrameNarrator:
    """Implements `Narrator` for gRPC's frames. It knows a method by its name in protobuf's pool."""

    def __init__(self) -> None:
        self._methods: dict[tuple[int, int], tuple[str, str]] = {}
        """By connection and stream: the method and the host that asked."""

    def sent(self, source: str, target: str, number: int, frame: Frame) -> str:
        """Returns what the frame says; empty where its kind says all."""
        kind, place = frame.kind, (number, frame.stream)
        if kind is FrameKind.REQUEST:
            if len(self._methods) >= STREAMS_MAX:
                self._methods.pop(next(iter(self._methods)))
            self._methods[place] = (str(frame.head[0]), source)
        if place not in self._methods:
            return ""
        method, client = self._methods[place]
        found, name = _method(method), method.rpartition("/")[2]
        if kind is FrameKind.REQUEST:
            return _told(f"{name}?", found and found.input_type, frame.data)
        if kind is FrameKind.DATA:
            asks = found is not None and found.client_streaming and source == client
            wanted = found and (found.input_type if asks else found.output_type)
            return _told(f"{name}{'?' if asks else ':'}", wanted, frame.data)
        if kind is FrameKind.TRAILERS:
            del self._methods[place]
            code = _code(frame.head[1])
            said = f"{name}: {code} {frame.head[2]}" if code != "OK" else f"{name}: OK"
            return said if frame.data is None else _told(f"{name}: OK,", found and found.output_type, frame.data)
        return name


def _method(path: str) -> MethodDescriptor | None:
    """The method of `/package.Service/Method`, if protobuf's pool has it."""
    try:
        return descriptor_pool.Default().FindMethodByName(path.strip("/").replace("/", "."))
    except KeyError:
        return None


def _code(code: object) -> str:
    return str(getattr(code, "name", code))


def _told(begin: str, wanted: Any, data: bytes | None) -> str:
    if data is None or wanted is None:
        return begin
    message = message_factory.GetMessageClass(wanted)()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return begin
    keys = list(dict.fromkeys(_keys(message, DEPTH_MAX)))
    more = f" and {len(keys) - OBJECTS_MAX} more" if len(keys) > OBJECTS_MAX else ""
    named = ", ".join(keys[:OBJECTS_MAX]) + more
    return " ".join(part for part in (begin, named or _figures(message), _revision(message)) if part)


def _keys(message: Message, depth: int) -> Iterator[str]:
    """Yields the objects that a message names, in the order of its fields."""
    name = message.DESCRIPTOR.full_name
    if name == "api.Object":
        metadata = message.metadata  # type: ignore[attr-defined]
        found = _TYPE.search((message.spec or message.status).type_url)  # type: ignore[attr-defined]
        yield f"{found.group(1) if found else 'Object'}/{metadata.namespace}/{metadata.name}"
        return
    if name == "api.Metadata":
        yield f"{message.namespace}/{message.name}"  # type: ignore[attr-defined]
        return
    if name == "api.Key":
        found = _TYPE.search(message.type)  # type: ignore[attr-defined]
        yield f"{found.group(1) if found else ''}/{message.namespace}/{message.name}"  # type: ignore[attr-defined]
        return
    if name == "api.Event" and message.WhichOneof("event") == "delete":
        yield from (f"deleted {key}" for key in _keys(message.delete, depth))  # type: ignore[attr-defined]
        return
    for field, value in message.ListFields() if depth else ():
        if field.type != FieldDescriptor.TYPE_MESSAGE or _is_map(field):
            continue
        for part in value if field.is_repeated else (value,):
            yield from _keys(part, depth - 1)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _figures(message: Message) -> str:
    """The first scalars of a message that names no object, such as the term and the index of one of Raft's."""
    if message.DESCRIPTOR.full_name == "api.WatchResponse":
        return "bookmark"
    plain = [
        _figure(field, value)
        for field, value in message.ListFields()
        if field.type not in (FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_BYTES)
        and not field.is_repeated
        and field.name not in _UNTOLD
    ]
    for field, value in message.ListFields():
        if not plain and field.type == FieldDescriptor.TYPE_MESSAGE and field.is_repeated and not _is_map(field):
            more = f" and {len(value) - 1} more" if len(value) > 1 else ""
            return _figures(value[0]) + more
    return " ".join(plain[:_FIGURES_MAX])


def _figure(field: FieldDescriptor, value: Any) -> str:
    if field.enum_type is None:
        return f"{field.name}={str(value)[:24]}"
    named = field.enum_type.values_by_number.get(value)
    return named.name if named else f"{field.name}={value}"


def _revision(message: Message) -> str:
    revision = getattr(message, "revision", 0)
    return f"@{revision}" if isinstance(revision, int) and revision else ""
