"""Conditions in CEL: true where a rule allows.

The engine judges messages. So a condition becomes the rule of a message with the fields `subject`, `request`, `old` and
`new`, made for the type of the object, and holds if an instance of it has no violation. One that fails, because the
object lacks what it reads, does not hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from rube.api import Metadata
from rube.api.errors import InvalidArgumentError
from rube.api.keys import ObjectKey
from rube.api.types import Kind, options
from rube.api.types.cel import Call, CelError, Node, parse, tokens
from rube.api.types.engine import validator_for
from rube.api.types.expressions import weigh
from rube.api.types.rules import HOPELESS
from rube.api.types.shapes import Shape, of_field
from rube.api.well_known import EVERY_TYPE
from rube.server.encoding import tag, varint
from rube.server.rights.subjects import Subject
from rube.server.stored_object import StoredObject

if TYPE_CHECKING:
    from protovalidate import Validator

COMPILED_MAX: Final = 1_024
"""So many conditions, each for one type, are kept ready."""
KNOWN_MAX: Final = 1_024
KNOWN_BYTES_MAX: Final = 4_096
"""So many answers of a condition are remembered, each by what it has read, unless that is longer."""
_MAPS: Final = ("labels", "annotations")
_IGNORE_ALWAYS: Final = 3
_VARIABLES: Final = ("subject", "request", "old", "new")
_F = FieldDescriptorProto


class Ask(NamedTuple):
    """The question that a condition answers. `old` is the object as it is stored, `new` as a write would store it."""

    subject: Subject
    verb: str
    key: ObjectKey
    kind: Kind | None
    old: StoredObject | None = None
    new: StoredObject | None = None


class Condition:
    """One rule's condition. `types` are those of the rule: the spec can be read if all of them are full names."""

    def __init__(self, text: str, types: tuple[str, ...]) -> None:
        self.text = text
        self._reads_spec = not any(EVERY_TYPE in each for each in types)

    def holds(self, ask: Ask) -> bool:
        """Returns whether it holds; a condition that fails does not."""
        return not self.failure(ask)

    def failure(self, ask: Ask) -> str:
        """Returns why it does not hold; empty: it does."""
        from protovalidate import CompilationError, EvaluationError

        kind = ask.kind if self._reads_spec else None
        try:
            compiled = _compiled(self.text, None if kind is None else cast(Any, kind.spec))
            return "" if compiled.holds(ask) else "it is false"
        except (CompilationError, EvaluationError, DecodeError, ValueError) as error:
            return f"it fails: {' '.join(str(error).split())[:200]}"

    def check(self, kind: Kind | None) -> None:
        """Raises InvalidArgumentError for a condition that cannot be asked of any object of that type; None: of objects
        whose spec it does not see."""
        from protovalidate import CompilationError, EvaluationError

        spec = None if kind is None or not self._reads_spec else kind.spec
        try:
            weigh(self.text, _shapes(spec))
            _check_loops(parse(self.text))
        except CelError as error:
            raise InvalidArgumentError(f"the condition {error}") from error
        sample = Ask(Subject("user", "sample", ("group",)), "get", ObjectKey("a.B", "c", "d"), kind)
        try:
            _compiled(self.text, cast(Any, spec)).holds(sample)
        except (CompilationError, EvaluationError, ValueError) as error:
            why = " ".join(str(error).replace("ERROR: <input>:", "").split())[:300]
            if not isinstance(error, EvaluationError) or HOPELESS.search(why):
                raise InvalidArgumentError(f"the condition does not compile: {why}") from error


def _check_loops(node: Node) -> None:
    """Raises CelError for a loop whose variable has the name of one that a condition reads."""
    if isinstance(node, Call) and node.variable in _VARIABLES:
        raise CelError(f"has a loop over {node.variable!r}, which is the name of something else: choose another")
    for child in node.children():
        _check_loops(child)


def _shapes(spec: type[Message] | None) -> dict[str, Shape]:
    fields = cast(Any, _asked_class("true", spec)).DESCRIPTOR.fields
    return {field.name: of_field(field) for field in fields}


class _Compiled:
    """A condition, ready for objects of one type. It is given what it names, and nothing else."""

    def __init__(self, text: str, spec: type[Message] | None) -> None:
        self._class = _asked_class(text, spec)
        self._validator: Validator = validator_for(cast(Any, self._class).DESCRIPTOR)
        names = {found for kind, found, _ in tokens(text) if kind == "name"}
        self._who, self._request, self._old, self._new = (name in names for name in _VARIABLES)
        self._spec = spec is not None and "spec" in names
        self._metadata_fields = _metadata_fields(text)
        # A condition is a function of what it reads, but for the time.
        self._known: dict[bytes, bool] | None = None if _reads_time(names) else {}

    def holds(self, ask: Ask) -> bool:
        read = self._read(ask)
        known = self._known
        if known is None or len(read) > KNOWN_BYTES_MAX:
            return self._judge(read)
        found = known.get(read)
        if found is None:
            found = self._judge(read)
            if len(known) >= KNOWN_MAX:
                del known[next(iter(known))]
            known[read] = found
        return found

    def _judge(self, read: bytes) -> bool:
        return not self._validator.collect_violations(self._class.FromString(read))

    def _read(self, ask: Ask) -> bytes:
        """Returns what the condition reads, and nothing else: a serialized message of its class."""
        parts = []
        if self._who:
            parts.append(_field(1, _who(ask.subject)))
        if self._request:
            parts.append(_field(2, b"".join(_texts((ask.verb, *ask.key)))))
        if self._old and ask.old is not None:
            parts.append(_field(3, self._seen(ask.old)))
        if self._new and ask.new is not None:
            parts.append(_field(4, self._seen(ask.new)))
        return b"".join(parts)

    def _seen(self, obj: StoredObject) -> bytes:
        metadata = _field(1, self._seen_metadata(obj.metadata))
        return metadata + _field(2, obj.spec_value()) if self._spec else metadata

    def _seen_metadata(self, metadata: Metadata) -> bytes:
        fields = self._metadata_fields
        if fields is None:
            return metadata.SerializeToString(deterministic=True)
        seen = Metadata()
        for name in fields:
            value = getattr(metadata, name)
            if isinstance(value, str | int):
                setattr(seen, name, value)
            elif name in _MAPS:
                getattr(seen, name).update(value)
            else:
                return metadata.SerializeToString(deterministic=True)
        return seen.SerializeToString(deterministic=True)


def _metadata_fields(text: str) -> tuple[str, ...] | None:
    """Returns the fields of metadata that a condition reads; None: all of them, as far as this can tell."""
    found = [(kind, name) for kind, name, _ in tokens(text)]
    fields = set()
    for index, (kind, name) in enumerate(found):
        if (kind, name) != ("name", "metadata"):
            continue
        dot, field = (found[index + 1 : index + 3] + [("", "")] * 2)[:2]
        if dot[1] != "." or field[1] not in Metadata.DESCRIPTOR.fields_by_name:
            return None
        fields.add(field[1])
    return tuple(sorted(fields))


def _reads_time(names: set[str]) -> bool:
    """Returns whether a condition may read the time, which the engine names `now`."""
    return "now" in names


@lru_cache(maxsize=COMPILED_MAX)
def _compiled(text: str, spec: Any) -> _Compiled:
    return _Compiled(text, spec)


@lru_cache(maxsize=COMPILED_MAX)
def _who(subject: Subject) -> bytes:
    groups = b"".join(_field(3, group.encode()) for group in subject.groups)
    return b"".join((*_texts((subject.kind, subject.name)), groups))


def _texts(values: tuple[str, ...]) -> Iterator[bytes]:
    for number, value in enumerate(values, 1):
        if value:
            yield _field(number, value.encode())


def _field(number: int, content: bytes) -> bytes:
    return b"".join((tag(number), varint(len(content)), content))


def _asked_class(text: str, spec: type[Message] | None) -> type[Message]:
    """Returns the message whose rule is the condition, in a pool of its own."""
    metadata = Metadata.DESCRIPTOR.file
    spec_message = None if spec is None else cast(Any, spec).DESCRIPTOR
    pool = DescriptorPool()
    added: set[str] = set()
    _add(pool, metadata, added)
    if spec_message is not None:
        _add(pool, spec_message.file, added)
    files = sorted({metadata.name} | ({spec_message.file.name} if spec_message is not None else set()))
    of_type = "" if spec_message is None else spec_message.full_name
    digest = hashlib.sha256(f"{of_type} {text}".encode()).hexdigest()[:24]
    file = FileDescriptorProto(
        name=f"rube.rights.{digest}.proto", package=f"rube.rights.h{digest}", syntax="proto3", dependency=files
    )
    _message(file.message_type.add(name="Who"), ("kind", "name", "groups"), repeated=("groups",))
    _message(file.message_type.add(name="Request"), ("verb", "type", "namespace", "name"))
    seen = file.message_type.add(name="Seen")
    _member(seen, 1, "metadata", f".{Metadata.DESCRIPTOR.full_name}")
    if spec_message is not None:
        _member(seen, 2, "spec", f".{spec_message.full_name}")
    asked = file.message_type.add(name="Asked")
    for number, (name, member) in enumerate(zip(_VARIABLES, ("Who", "Request", "Seen", "Seen"), strict=True), 1):
        _member(asked, number, name, f".{file.package}.{member}")
    rules: Any = options.options_class("MessageOptions")()
    rule = rules.Extensions[options.extension("message")].cel.add(id="condition", message="does not hold")
    rule.expression = _bound(text)
    asked.options.ParseFromString(rules.SerializeToString(deterministic=True))
    pool.AddSerializedFile(file.SerializeToString(deterministic=True))
    return GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.Asked"))


def _bound(text: str) -> str:
    """Returns the condition over `this`, which is all that the engine has, in place of the variables."""
    parts, end, before = [], 0, ""
    for kind, found, start in tokens(text):
        if kind == "name" and found in _VARIABLES and before != ".":
            parts += [text[end:start], "this."]
            end = start
        before = found
    return "".join([*parts, text[end:]])


def _message(message: DescriptorProto, names: tuple[str, ...], repeated: tuple[str, ...] = ()) -> None:
    for number, name in enumerate(names, 1):
        field = message.field.add(name=name, number=number, type=_F.TYPE_STRING)
        field.label = _F.LABEL_REPEATED if name in repeated else _F.LABEL_OPTIONAL


def _member(message: DescriptorProto, number: int, name: str, type_name: str) -> None:
    """Adds a field whose own rules are not judged."""
    field = message.field.add(name=name, number=number, type_name=type_name)
    field.type, field.label = _F.TYPE_MESSAGE, _F.LABEL_OPTIONAL
    ignored: Any = options.options_class("FieldOptions")()
    ignored.Extensions[options.extension("field")].ignore = _IGNORE_ALWAYS
    field.options.ParseFromString(ignored.SerializeToString())


def _add(pool: DescriptorPool, file: FileDescriptor, added: set[str]) -> None:
    if file.name in added:
        return
    added.add(file.name)
    for each in file.dependencies:
        _add(pool, each, added)
    pool.AddSerializedFile(file.serialized_pb)
