"""A type with every shape of field, made at run time."""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, text_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from rube.api import resource_pb2
from rube.api.types import BUILTIN, Kind, Types

_FILE = """
name: "acme/thing.proto"  package: "acme"  syntax: "proto3"
dependency: ["google/protobuf/any.proto", "google/protobuf/duration.proto", "rube/api/resource.proto"]
message_type {
  name: "Thing"
  field { name: "text" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "number" number: 2 type: TYPE_INT32 label: LABEL_OPTIONAL proto3_optional: true oneof_index: 1 }
  field { name: "part" number: 3 type: TYPE_MESSAGE type_name: ".acme.Part" label: LABEL_OPTIONAL }
  field { name: "parts" number: 4 type: TYPE_MESSAGE type_name: ".acme.Thing.PartsEntry" label: LABEL_REPEATED }
  field { name: "names" number: 5 type: TYPE_MESSAGE type_name: ".acme.Thing.NamesEntry" label: LABEL_REPEATED }
  field {
    name: "keyed" number: 6 type: TYPE_MESSAGE type_name: ".acme.Part" label: LABEL_REPEATED
    options { [api.field] { list_key: "name" } }
  }
  field {
    name: "tags" number: 7 type: TYPE_STRING label: LABEL_REPEATED options { [api.field] { list_set: true } }
  }
  field { name: "list" number: 8 type: TYPE_MESSAGE type_name: ".acme.Part" label: LABEL_REPEATED }
  field { name: "a" number: 9 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }
  field { name: "b" number: 10 type: TYPE_MESSAGE type_name: ".acme.Part" label: LABEL_OPTIONAL oneof_index: 0 }
  field { name: "duration" number: 11 type: TYPE_MESSAGE type_name: ".google.protobuf.Duration" label: LABEL_OPTIONAL }
  field { name: "any" number: 12 type: TYPE_MESSAGE type_name: ".google.protobuf.Any" label: LABEL_OPTIONAL }
  field { name: "ratio" number: 13 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
  field {
    name: "ints" number: 14 type: TYPE_INT32 label: LABEL_REPEATED options { [api.field] { list_set: true } }
  }
  field { name: "flags" number: 15 type: TYPE_MESSAGE type_name: ".acme.Thing.FlagsEntry" label: LABEL_REPEATED }
  field { name: "child" number: 16 type: TYPE_MESSAGE type_name: ".acme.Thing" label: LABEL_OPTIONAL }
  field { name: "times" number: 17 type: TYPE_MESSAGE type_name: ".acme.Thing.TimesEntry" label: LABEL_REPEATED }
  oneof_decl { name: "choice" }
  oneof_decl { name: "_number" }
  nested_type {
    name: "PartsEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".acme.Part" label: LABEL_OPTIONAL }
  }
  nested_type {
    name: "NamesEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
  }
  nested_type {
    name: "FlagsEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_BOOL label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
  }
  nested_type {
    name: "TimesEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".google.protobuf.Duration" label: LABEL_OPTIONAL }
  }
}
message_type {
  name: "Part"
  field { name: "name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "value" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "on" number: 3 type: TYPE_BOOL label: LABEL_OPTIONAL proto3_optional: true oneof_index: 0 }
  field { name: "deep" number: 4 type: TYPE_MESSAGE type_name: ".acme.Part" label: LABEL_OPTIONAL }
  field { name: "items" number: 5 type: TYPE_STRING label: LABEL_REPEATED }
  oneof_decl { name: "_on" }
}
"""


@cache
def thing_class() -> type[Message]:
    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, duration_pb2, descriptor_pb2, resource_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file = text_format.Parse(_FILE, descriptor_pb2.FileDescriptorProto())
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName("acme.Thing"))


def thing(text: str) -> Any:
    """A message of acme.Thing from text format."""
    return text_format.Parse(text, thing_class()())


@cache
def things() -> Types:
    return BUILTIN.with_kind(Kind(spec=thing_class(), status=None, namespaced=True))
