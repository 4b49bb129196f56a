"""The message of a change: an old and a new spec, whose rules are the type's transitions. So one engine judges both."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message_factory import GetMessageClass

from rube.api.types import options

_IGNORE_ALWAYS: Final = 3


def change_class(message: Descriptor) -> type[Any] | None:
    """Returns the class of the message with the fields `old` and `new`, made in the pool of a type's spec.

    None: the type has no transitions.
    """
    resource = options.resource_of(message)
    if resource is None or not resource.transitions:
        return None
    file = _change_file(message, resource)
    pool = message.file.pool
    pool.AddSerializedFile(file.SerializeToString(deterministic=True))
    return GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.Change"))


def _change_file(message: Descriptor, resource: Any) -> FileDescriptorProto:
    """Returns a file with a message of an old and a new spec, whose rules are the transitions."""
    package = f"rube.change.{message.full_name}"
    file = FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3", dependency=[message.file.name]
    )
    change = file.message_type.add(name="Change")
    ignored: Any = options.options_class("FieldOptions")()
    ignored.Extensions[options.extension("field")].ignore = _IGNORE_ALWAYS
    for number, name in enumerate(("old", "new"), 1):
        field = change.field.add(name=name, number=number, type_name=f".{message.full_name}")
        field.type, field.label = FieldDescriptorProto.TYPE_MESSAGE, FieldDescriptorProto.LABEL_OPTIONAL
        field.options.ParseFromString(ignored.SerializeToString())
    rules: Any = options.options_class("MessageOptions")()
    for transition in resource.transitions:
        rule = rules.Extensions[options.extension("message")].cel.add(id=transition.id)
        # The names of the variables, since the engine has `this` alone. A line of its own keeps positions in errors.
        rule.expression = f"[this.old].map(old, [this.new].map(new,\n{transition.expression}\n)[0])[0]"
        if transition.message:
            rule.message = transition.message
    change.options.ParseFromString(rules.SerializeToString(deterministic=True))
    return file
