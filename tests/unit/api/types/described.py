"""Types for tests, from fields in a few words: no protoc is needed."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, text_format, timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from rube.api import resource_pb2
from rube.api.types.options import VALIDATE_FILE, validate_file

KNOWN = (
    descriptor_pb2.DESCRIPTOR,
    duration_pb2.DESCRIPTOR,
    field_mask_pb2.DESCRIPTOR,
    timestamp_pb2.DESCRIPTOR,
    resource_pb2.DESCRIPTOR,
)


def pool_of_options() -> DescriptorPool:
    pool = DescriptorPool()
    for file in KNOWN:
        pool.AddSerializedFile(file.serialized_pb)
    pool.AddSerializedFile(validate_file())
    return pool


def field(name: str, number: int, kind: str = "STRING", rules: str = "", *, many: bool = False, of: str = "") -> str:
    """Returns a field in textproto; `rules` are a buf.validate.FieldRules."""
    label = "LABEL_REPEATED" if many else "LABEL_OPTIONAL"
    type_name = f'type_name: ".acme.{of}"' if of else ""
    options = f"options {{ [buf.validate.field] {{ {rules} }} }}" if rules else ""
    return f'field {{ name: "{name}" number: {number} type: TYPE_{kind} label: {label} {type_name} {options} }}'


def cel(expression: str, *, rule: str = "r", message: str = "is wrong") -> str:
    """Returns a rule in CEL in textproto."""
    quoted = expression.replace("\\", "\\\\").replace('"', '\\"')
    return f'cel {{ id: "{rule}" message: "{message}" expression: "{quoted}" }}'


def message(name: str, *fields: str, rules: str = "", resource: str = "") -> str:
    ruled = f"[buf.validate.message] {{ {rules} }}" if rules else ""
    declared = f"[api.resource] {{ {resource} }}" if resource else ""
    return f'message_type {{ name: "{name}" {" ".join(fields)} options {{ {ruled} {declared} }} }}'


def types(*messages: str) -> DescriptorPool:
    """Returns a pool of its own with the messages, in package acme."""
    options = pool_of_options()
    file = GetMessageClass(options.FindMessageTypeByName("google.protobuf.FileDescriptorProto"))()
    text = f'name: "acme.proto" package: "acme" syntax: "proto3" dependency: "{VALIDATE_FILE}" ' + " ".join(messages)
    text_format.Parse(text, file, descriptor_pool=options)
    pool = pool_of_options()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def class_of(pool: DescriptorPool, name: str) -> Any:
    return GetMessageClass(pool.FindMessageTypeByName(f"acme.{name}"))
