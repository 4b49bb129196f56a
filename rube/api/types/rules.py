"""The rules of a type, from its .proto file: buf.validate for a spec, (api.resource).transitions for changes.

A rule that can never work is found when a type is pushed (`Rules.check`), so that a put finds only errors of objects.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from rube.api.errors import InvalidArgumentError
from rube.api.types import options
from rube.api.types.change import change_class
from rube.api.types.cost import Costs
from rube.api.types.declared import RULES_MAX, declared, expressions_of, messages_in, refusal, transitions_of
from rube.api.types.engine import validator_for
from rube.api.types.samples import filled
from rube.api.types.violation import Violation
from rube.api.types.wording import order, violation

if TYPE_CHECKING:
    from protovalidate import Validator

VIOLATIONS_MAX: Final = 100
"""So many violations of one object are named."""
_TYPES_MAX: Final = 1_024
HOPELESS: Final = re.compile(
    r"no_such_field|No matching overloads|No value with name|Applying SELECT|unexpected type|expected integer type"
)
"""Matches the errors of an evaluation that no other object would spare."""
_ON_FIELD: Final = re.compile(r'on field "[^"]*?([^".]+)"')
_FAILED: Final = re.compile(
    r"(?:error evaluating|failed to compile (?:expression|program)|expression) (?P<rule>.+?)"
    r"(?::| outputs) ?(?P<why>.*)",
    re.DOTALL,
)


class Rules:
    """The rules of the messages of one type: a spec and everything in it."""

    def __init__(self, message: Descriptor) -> None:
        self._message = message
        self.any = declared(message)
        """False: the type has no rules, and nothing is loaded to judge its objects."""

    @property
    def of_changes(self) -> bool:
        """False: no rule reads the previous spec."""
        return self._change is not None

    def check(self) -> None:
        """Raises InvalidArgumentError, which names the message, the field and the rule, unless all rules can work: they
        are written in CEL, read fields that exist, give true, false or a text, and are bounded in what they cost."""
        if len(expressions_of(self._message)) + len(transitions_of(self._message)) > RULES_MAX:
            raise InvalidArgumentError(
                f"{self._message.full_name} has more than {RULES_MAX} rules in CEL", message=self._message.full_name
            )
        if not self.any:
            return
        for message in messages_in(self._message):
            if not message.GetOptions().map_entry:
                for sample in (GetMessageClass(message)(), filled(message)):
                    self._try(message, sample)
        if self._change is not None:
            empty, full = GetMessageClass(self._message)(), filled(self._message)
            for old, new in ((empty, empty), (full, full), (empty, full)):
                self._try(self._message, self._change(old=old, new=new))

    def violations(self, message: Message, previous: Message | None = None) -> list[Violation]:
        """Returns the errors of a spec, and of its change from the previous one: at most VIOLATIONS_MAX, in the order
        of the fields. Both may be of another pool's class of the same name."""
        if not self.any:
            return []
        message = self._own(message)
        if self._costs.exceeded(message):
            return [Violation("", f"has {message.ByteSize()} bytes, for which its rules in CEL take too long", "cost")]
        found = self._found(message)
        if previous is not None and self._change is not None:
            change = self._change(old=self._own(previous), new=message)
            if self._change_costs.exceeded(self._own(previous)) or self._change_costs.exceeded(message):
                text = f"has {message.ByteSize()} bytes, for which its rules of changes take too long"
                return [*found, Violation("", text, "cost")]
            found += self._found(change)
        return found[:VIOLATIONS_MAX]

    @cached_property
    def _validator(self) -> Validator:
        return validator_for(self._message)

    @cached_property
    def _costs(self) -> Costs:
        return Costs(self._message, expressions_of(self._message))

    @cached_property
    def _change(self) -> type[Any] | None:
        return change_class(self._message)

    @cached_property
    def _change_costs(self) -> Costs:
        return Costs(self._message, transitions_of(self._message))

    def _own(self, message: Message) -> Message:
        """Returns the message as one of this type's own pool."""
        if message.DESCRIPTOR is self._message:
            return message
        if message.DESCRIPTOR.full_name != self._message.full_name:
            raise TypeError(f"{message.DESCRIPTOR.full_name} in place of {self._message.full_name}")
        return GetMessageClass(self._message).FromString(message.SerializeToString())

    def _found(self, message: Message) -> list[Violation]:
        from protovalidate import CompilationError, EvaluationError

        try:
            found = self._validator.collect_violations(message)
        except (CompilationError, EvaluationError, ValueError) as error:
            rule, why = _why(str(error))
            return [Violation("", f"cannot be judged by the rule {rule}: {why}", rule)]
        if not found:
            return []
        return [violation(self._message, each) for each in sorted(found, key=lambda each: order(each.proto.field))]

    def _try(self, message: Descriptor, sample: Message) -> None:
        from protovalidate import CompilationError, EvaluationError

        try:
            self._validator.collect_violations(sample)
        except (CompilationError, ValueError) as error:
            rule, why = _why(str(error))
            raise refusal(message, _field_of(message, rule, why), rule, f"does not compile: {why}") from error
        except EvaluationError as error:
            rule, why = _why(str(error))
            if HOPELESS.search(str(error)):
                raise refusal(message, _field_of(message, rule, why), rule, f"fails: {why}") from error


def rules_of(spec: type[Message]) -> Rules:
    """Returns the rules of a message's class, made once.

    Generated classes of Rube's own come without their rules, which are read from descriptors.binpb.
    """
    return _rules_of(cast(Any, spec))


@lru_cache(maxsize=_TYPES_MAX)
def _rules_of(spec: Any) -> Rules:
    message = cast(Descriptor, spec.DESCRIPTOR)
    if message.file.pool is Default() and message.file.name.startswith("rube/"):
        message = _built_in().FindMessageTypeByName(message.full_name)
    return Rules(message)


def load_built_in() -> None:
    """Reads the files that rules need, since code in a simulated world may read none later."""
    _built_in()
    options.validate_file()


@lru_cache(maxsize=1)
def _built_in() -> DescriptorPool:
    """Returns a pool of Rube's own files, with their rules."""
    from importlib import resources

    raw = resources.files("rube.api").joinpath("descriptors.binpb").read_bytes()
    pool = DescriptorPool()
    waiting = {file.name: file for file in FileDescriptorSet.FromString(raw).file}
    for name in waiting:
        _add(pool, name, waiting)
    return pool


def _add(pool: DescriptorPool, name: str, given: dict[str, FileDescriptorProto]) -> None:
    """Adds a file after those that it imports; those that are not given are as Python has them."""
    try:
        pool.FindFileByName(name)
        return
    except KeyError:
        pass
    if name == options.VALIDATE_FILE:
        encoded = options.validate_file()
    elif name in given:
        given[name].ClearField("source_code_info")
        encoded = given[name].SerializeToString()
    else:
        encoded = Default().FindFileByName(name).serialized_pb
    for imported in FileDescriptorProto.FromString(encoded).dependency:
        _add(pool, imported, given)
    pool.AddSerializedFile(encoded)


def _why(error: str) -> tuple[str, str]:
    """Returns the rule's id and the reason, from the engine's words."""
    found = _FAILED.match(error)
    rule, why = (found["rule"], found["why"]) if found else ("", error)
    return rule, " ".join(why.replace("ERROR: <input>:", "").split())[:300]


def _field_of(message: Descriptor, rule: str, why: str) -> str:
    """Returns the field of a message whose rule it most likely is."""
    kind, _, name = rule.partition(".")
    if named := _ON_FIELD.search(why):
        return named[1]
    for field in message.fields:
        rules = options.field_rules(field)
        if rules is None:
            continue
        if any(each.id == rule for each in rules.cel) or rule in rules.cel_expression:
            return field.name
        if name and rules.WhichOneof("type") == kind and getattr(rules, kind).HasField(name):
            return field.name
    return ""
