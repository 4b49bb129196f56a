"""The options in which a message says its rules: (buf.validate.field), (buf.validate.message), (buf.validate.oneof) and
(api.resource), read from any pool's descriptors.

Their classes live in a pool of this module. With them in Python's default pool, a program could not have a
buf/validate/validate.proto of another version.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor
from google.protobuf.descriptor_pb2 import DESCRIPTOR as DESCRIPTOR_FILE
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from rube.api import Resource

VALIDATE_FILE: Final = "buf/validate/validate.proto"
_RESOURCE: Final = 78237
# Read when this is imported: a simulated server reads no files.
_VALIDATE: Final = pkgutil.get_data("rube.api.types", "validate.binpb") or b""


@cache
def validate_file() -> bytes:
    """Returns buf/validate/validate.proto as the bytes of a FileDescriptorProto."""
    encoded: bytes = FileDescriptorSet.FromString(_VALIDATE).file[0].SerializeToString()
    return encoded


def field_rules(field: FieldDescriptor) -> Any:
    """Returns the buf.validate.FieldRules of a field; None: it has none."""
    return _rules("field", "FieldOptions", field)


def message_rules(message: Descriptor) -> Any:
    """Returns the buf.validate.MessageRules of a message; None: it has none."""
    return _rules("message", "MessageOptions", message)


def oneof_rules(oneof: OneofDescriptor) -> Any:
    """Returns the buf.validate.OneofRules of a oneof; None: it has none."""
    return _rules("oneof", "OneofOptions", oneof)


def resource_of(message: Descriptor) -> Resource | None:
    """Returns the message's option (api.resource); None: it has none."""
    from rube.api.resource_pb2 import resource  # registers it, too

    encoded = _encoded(message)
    if not encoded:
        return None
    options = type(message.GetOptions()).FromString(encoded)
    return options.Extensions[resource] if options.HasExtension(resource) else None


def options_class(name: str) -> type[Message]:
    return GetMessageClass(_pool().FindMessageTypeByName(f"google.protobuf.{name}"))


def extension(name: str) -> Any:
    return _pool().FindExtensionByName(f"buf.validate.{name}")


def _rules(name: str, options: str, described: Any) -> Any:
    encoded = _encoded(described)
    if not encoded:
        return None
    parsed: Any = options_class(options).FromString(encoded)
    return parsed.Extensions[extension(name)] if parsed.HasExtension(extension(name)) else None


def _encoded(described: Any) -> bytes:
    if not described.has_options:
        return b""
    encoded: bytes = described.GetOptions().SerializeToString(deterministic=True)
    return encoded


@cache
def _pool() -> DescriptorPool:
    from google.protobuf import duration_pb2, field_mask_pb2, timestamp_pb2

    pool = DescriptorPool()
    for file in (DESCRIPTOR_FILE, duration_pb2.DESCRIPTOR, field_mask_pb2.DESCRIPTOR, timestamp_pb2.DESCRIPTOR):
        pool.AddSerializedFile(file.serialized_pb)
    pool.AddSerializedFile(validate_file())
    return pool
