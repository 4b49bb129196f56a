"""Claims of a user's own about objects: what always holds, never for long, or soon again; in CEL or in Python.

A claim is judged at each revision of the store's log, so that no state is missed, however short it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from rube.api import Metadata, Object
from rube.api.errors import InvalidArgumentError
from rube.api.types import Types, options
from rube.api.types.engine import validator_for
from rube.sim.judges.history import History
from rube.sim.judges.verdict import Verdict, judge, many, not_judged, time_text

Holds = Callable[[Object], bool]
_IGNORE_ALWAYS: Final = 3
_RULE: Final = "claim"
# The engine's words for a field that a message does not have, and for an unknown variable.
_UNKNOWN: Final = ("no_such_field", "No value with name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim about each object of one type. Make it with `always`, `never` or `eventually`."""

    words: str
    """The claim as its author wrote it."""
    type: str
    expression: str = ""
    holds: Holds | None = None
    """In the place of `expression`."""
    bad: bool
    """The value that must not last."""
    limit_ns: int | None = None
    """It may last for so long; None: it may not be there at any revision."""

    def verdict(self, history: History, types: Types) -> Verdict:
        """Judges the log. Raises InvalidArgumentError for an expression that cannot be judged."""
        holds = self.holds or compiled(self.type, self.expression, types)
        keys = [key for key in history.timeline.keys if key.startswith(f"{self.type}/")]
        if not keys:
            return not_judged(self.words, f"there was no object of type {self.type}")
        offending = [line for key in keys for line in self._of_object(key, holds, history)]
        about = f"{many(len(keys), 'object')} of type {self.type}"
        return judge(self.words, f"held for {about}", offending, violated=f"not so for {about}")

    def _of_object(self, key: str, holds: Holds, history: History) -> Iterator[str]:
        at_ns = {commit.revision: commit.at_ns for commit in history.commits}
        since: tuple[int, int] | None = None
        for revision, content in history.timeline.versions(key):
            now_ns = at_ns.get(revision, 0)
            if since is not None and self._over(since[1], now_ns):
                yield self._line(key, since, now_ns)
                since = None if content is None else (revision, now_ns)
            try:
                bad = content is not None and bool(holds(content.obj)) is self.bad
            except Exception as error:  # whatever a user's claim raises
                yield self._unjudged(key, revision, now_ns, error)
                since = None
                continue
            if bad and self.limit_ns is None:
                yield self._line(key, (revision, now_ns), now_ns)
            since = (since or (revision, now_ns)) if bad and self.limit_ns is not None else None
        if since is not None and self._over(since[1], history.end_ns):
            yield self._line(key, since, history.end_ns)

    def _over(self, since_ns: int, now_ns: int) -> bool:
        return self.limit_ns is not None and now_ns - since_ns > self.limit_ns

    def _unjudged(self, key: str, revision: int, at_ns: int, error: Exception) -> str:
        why = str(error) if self.expression else f"{type(error).__name__}: {error}"
        shown = self.expression or self.words
        return f"{time_text(at_ns)} {key} at revision {revision}: `{shown}` cannot be judged: {why}"

    def _line(self, key: str, since: tuple[int, int], until_ns: int) -> str:
        revision, at_ns = since
        shown = self.expression or self.words
        lasted = f", and until {time_text(until_ns)}" if until_ns > at_ns else ""
        return f"{time_text(at_ns)} {key} at revision {revision}: `{shown}` is {str(self.bad).lower()}{lasted}"


def compiled(type_name: str, expression: str, types: Types) -> Holds:
    """Returns the function that a CEL expression is, of `metadata`, `spec` and `status`.

    Raises InvalidArgumentError, with the reason, for one that does not compile or names what there is not. The
    function raises ValueError, with the reason, for an object of which the expression is neither true nor false.
    """
    kind = types.kind(type_name)
    parts: dict[str, Any] = {"spec": kind.spec.DESCRIPTOR}
    if kind.status is not None:
        parts["status"] = kind.status.DESCRIPTOR
    pool = kind.spec.DESCRIPTOR.file.pool
    parts["metadata"] = _metadata(pool)
    file = _file(expression, parts)
    pool.AddSerializedFile(file.SerializeToString(deterministic=True))
    message_type: Any = pool.FindMessageTypeByName(f"{file.package}.Judged")
    judged: Any = GetMessageClass(message_type)
    validator = validator_for(judged.DESCRIPTOR)

    def holds(obj: Object) -> bool:
        message = judged()
        message.metadata.ParseFromString(obj.metadata.SerializeToString())
        message.spec.ParseFromString(obj.spec.value)
        if "status" in parts:
            message.status.ParseFromString(obj.status.value)
        return not _violations(validator, message)

    _check_names(holds, expression)
    return holds


def _check_names(holds: Holds, expression: str) -> None:
    """Raises InvalidArgumentError for an expression that can be judged of no object: an empty one shows it."""
    from protovalidate import CompilationError

    try:
        holds(Object())
    except CompilationError as error:
        raise InvalidArgumentError(f"`{expression}` is no condition in CEL: {error}", field="expression") from error
    except ValueError as error:
        if str(error).startswith(_UNKNOWN):
            raise InvalidArgumentError(f"`{expression}` cannot be judged: {error}", field="expression") from error


def _violations(validator: Any, message: Message) -> bool:
    from protovalidate import EvaluationError

    try:
        return bool(validator.collect_violations(message))
    except EvaluationError as error:
        raise ValueError(str(error).removeprefix(f"error evaluating {_RULE}: ")) from error


def _metadata(pool: Any) -> Descriptor:
    """Returns api.Metadata of a type's pool, which gets it if it lacks it."""
    try:
        return pool.FindMessageTypeByName("api.Metadata")  # type: ignore[no-any-return]
    except KeyError:
        _add(pool, Metadata.DESCRIPTOR.file)
        return pool.FindMessageTypeByName("api.Metadata")  # type: ignore[no-any-return]


def _add(pool: Any, file: Any) -> None:
    try:
        pool.FindFileByName(file.name)
    except KeyError:
        for each in file.dependencies:
            _add(pool, each)
        pool.AddSerializedFile(file.serialized_pb)


def _file(expression: str, parts: dict[str, Descriptor]) -> FileDescriptorProto:
    """Returns a file with a message of an object's parts, whose one rule is the expression."""
    digest = hashlib.sha256(expression.encode()).hexdigest()[:16]
    package = f"rube.judged.{parts['spec'].full_name}.x{digest}"
    names = sorted({part.file.name for part in parts.values()})
    file = FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3", dependency=names)
    judged = file.message_type.add(name="Judged")
    ignored: Any = options.options_class("FieldOptions")()
    ignored.Extensions[options.extension("field")].ignore = _IGNORE_ALWAYS
    bound = expression
    for number, (name, part) in enumerate(sorted(parts.items()), 1):
        field = judged.field.add(name=name, number=number, type_name=f".{part.full_name}")
        field.type, field.label = FieldDescriptorProto.TYPE_MESSAGE, FieldDescriptorProto.LABEL_OPTIONAL
        field.options.ParseFromString(ignored.SerializeToString())
        bound = f"[this.{name}].map({name},\n{bound}\n)[0]"
    rules: Any = options.options_class("MessageOptions")()
    rules.Extensions[options.extension("message")].cel.add(
        id=_RULE, expression=f"{bound} ? true : false", message="is false"
    )
    judged.options.ParseFromString(rules.SerializeToString(deterministic=True))
    return file


def always(type: str, claim: str | Holds) -> Claim:
    """Claims that this is true of each object of the type at each revision."""
    return _claim(f"always: {_shown(claim)}", type, claim, bad=False)


def never(type: str, claim: str | Holds, *, lasting: float = 0.0) -> Claim:
    """Claims that this is true of no object of the type, or of none for longer than `lasting` seconds."""
    words = f"never for {lasting:g} s: {_shown(claim)}" if lasting else f"never: {_shown(claim)}"
    return _claim(words, type, claim, bad=True, limit_s=lasting or None)


def eventually(type: str, claim: str | Holds, *, within: float) -> Claim:
    """Claims that this becomes true of each object of the type within so many seconds of each change after which it is
    false, or that the object is deleted in that time."""
    return _claim(f"eventually within {within:g} s: {_shown(claim)}", type, claim, bad=False, limit_s=within)


def _claim(words: str, type: str, claim: str | Holds, *, bad: bool, limit_s: float | None = None) -> Claim:
    limit_ns = None if limit_s is None else round(limit_s * 1e9)
    if isinstance(claim, str):
        return Claim(words=words, type=type, expression=claim, bad=bad, limit_ns=limit_ns)
    return Claim(words=words, type=type, holds=claim, bad=bad, limit_ns=limit_ns)


def _shown(claim: str | Holds) -> str:
    return claim if isinstance(claim, str) else getattr(claim, "__qualname__", type(claim).__name__)
