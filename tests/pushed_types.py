"""Types as users push them, made without a compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message

from rube.api import Metadata, Object, Resource, Type
from rube.api.resource_pb2 import resource as resource_option
from rube.api.types import pack
from rube.api.types.kinds import Kind
from rube.api.types.pushed import kind_of

BACKUP = "acme.Backup"
FIELDS: Mapping[str, int] = {"schedule": 1, "target": 2}
"""The fields of the spec: text, by their numbers."""


def backup_type(
    fields: Mapping[str, int] = FIELDS,
    *,
    name: str = BACKUP,
    file: str = "acme/backup.proto",
    types: Mapping[str, FieldDescriptorProto.Type.ValueType] | None = None,
    **resource: Any,
) -> Object:
    """Returns the api.Type of a message with these fields, and of its status `<name>Status`, which has a `state` and an
    `observed_generation`."""
    package, _, short = name.rpartition(".")
    proto = FileDescriptorProto(name=file, package=package, syntax="proto3")
    spec = proto.message_type.add(name=short)
    for field, number in fields.items():
        kind = (types or {}).get(field, FieldDescriptorProto.TYPE_STRING)
        spec.field.add(name=field, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
    status = proto.message_type.add(name=f"{short}Status")
    for index, (field, kind) in enumerate(
        (("state", FieldDescriptorProto.TYPE_STRING), ("observed_generation", FieldDescriptorProto.TYPE_UINT64)), 1
    ):
        status.field.add(name=field, number=index, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
    spec.options.Extensions[resource_option].CopyFrom(Resource(**{"status": f"{name}Status", **resource}))
    proto.dependency.append("rube/api/resource.proto")
    wanted = Type(files=FileDescriptorSet(file=[proto]))
    return Object(metadata=Metadata(name=name), spec=pack(wanted))


def kind_from(pushed: Object) -> Kind:
    return kind_of(pushed.metadata.name, Type.FromString(pushed.spec.value))


def backup(name: str, *, of: Object | None = None, namespace: str = "default", **fields: Any) -> Object:
    """Returns an object of a pushed type."""
    kind = kind_from(backup_type() if of is None else of)
    metadata = Metadata(namespace=namespace if kind.namespaced else "", name=name)
    return Object(metadata=metadata, spec=pack(kind.spec(**fields)))


def names(objects: Sequence[Object]) -> list[str]:
    return [obj.metadata.name for obj in objects]


def spec_of(obj: Object, pushed: Object | None = None) -> Message:
    return kind_from(backup_type() if pushed is None else pushed).spec.FromString(obj.spec.value)
