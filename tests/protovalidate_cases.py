"""Judges the cases of protovalidate's conformance suite by the rules of types: `make conformance-protovalidate`.

protovalidate-conformance runs this once for each of its suites, with a TestConformanceRequest on stdin, and reads a
TestConformanceResponse on stdout.
"""

from __future__ import annotations

import sys
from typing import Any, cast

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from protovalidate import CompilationError, EvaluationError

from rube.api.errors import InvalidArgumentError
from rube.api.types.rules import Rules

HARNESS = """
name: "harness.proto" package: "harness" syntax: "proto3"
message_type {
  name: "Request"
  field { name: "files" number: 2 type: TYPE_BYTES label: LABEL_OPTIONAL }
  field { name: "cases" number: 3 type: TYPE_MESSAGE label: LABEL_REPEATED type_name: ".harness.Case" }
}
message_type {
  name: "Case"
  field { name: "name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "any" number: 2 type: TYPE_MESSAGE label: LABEL_OPTIONAL type_name: ".harness.Any" }
}
message_type {
  name: "Any"
  field { name: "type_url" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "value" number: 2 type: TYPE_BYTES label: LABEL_OPTIONAL }
}
message_type {
  name: "Response"
  field { name: "results" number: 1 type: TYPE_MESSAGE label: LABEL_REPEATED type_name: ".harness.Judged" }
}
message_type {
  name: "Judged"
  field { name: "name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "result" number: 2 type: TYPE_MESSAGE label: LABEL_OPTIONAL type_name: ".harness.Result" }
}
message_type {
  name: "Result"
  field { name: "success" number: 1 type: TYPE_BOOL label: LABEL_OPTIONAL }
  field { name: "validation_error" number: 2 type: TYPE_MESSAGE label: LABEL_OPTIONAL type_name: ".harness.Violations" }
  field { name: "compilation_error" number: 3 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "runtime_error" number: 4 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "unexpected_error" number: 5 type: TYPE_STRING label: LABEL_OPTIONAL }
}
message_type {
  name: "Violations"
  field { name: "violations" number: 1 type: TYPE_BYTES label: LABEL_REPEATED }
}
"""
"""The wire format of the harness's messages, as far as it is read here."""


def harness() -> DescriptorPool:
    pool = DescriptorPool()
    pool.Add(text_format.Parse(HARNESS, FileDescriptorProto()))
    return pool


def pool_of(files: FileDescriptorSet) -> DescriptorPool:
    """Returns a pool of files, which need not stand after those that they import."""
    pool, waiting = DescriptorPool(), {file.name: file for file in files.file}

    def add(name: str) -> None:
        if (file := waiting.pop(name, None)) is not None:
            for imported in file.dependency:
                add(imported)
            pool.AddSerializedFile(file.SerializeToString())

    for name in list(waiting):
        add(name)
    return pool


def judge(message: Message, result: Any) -> None:
    """Says in the result what a push of the type, and then a put of the message, would find."""
    try:
        rules = Rules(cast(Descriptor, message.DESCRIPTOR))
        rules.check()
        found = rules._validator.collect_violations(message) if rules.any else []
    except (InvalidArgumentError, CompilationError) as error:
        result.compilation_error = str(error)
    except EvaluationError as error:
        result.runtime_error = str(error)
    except Exception as error:  # a case of the suite, which counts it as failed
        result.unexpected_error = repr(error)
    else:
        if found:
            result.validation_error.violations.extend(each.proto.to_binary() for each in found)
        else:
            result.success = True


def main() -> None:
    messages = harness()
    request: Any = GetMessageClass(messages.FindMessageTypeByName("harness.Request"))()
    response: Any = GetMessageClass(messages.FindMessageTypeByName("harness.Response"))()
    request.ParseFromString(sys.stdin.buffer.read())
    types = pool_of(FileDescriptorSet.FromString(request.files))
    for case in request.cases:
        made = GetMessageClass(types.FindMessageTypeByName(case.any.type_url.rpartition("/")[2]))
        judge(made.FromString(case.any.value), response.results.add(name=case.name).result)
    sys.stdout.buffer.write(response.SerializeToString())


if __name__ == "__main__":
    main()
