"""The .proto files that a type can import without bringing them: those of Google's protobuf that Python's has too,
Rube's own, and buf/validate."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto

import rube.api
from rube.api.types.options import VALIDATE_FILE, validate_file

_GOOGLE = "any api descriptor duration empty field_mask source_context struct timestamp type wrappers"

_MODULES: Final[dict[str, str]] = {
    **{f"google/protobuf/{name}.proto": f"google.protobuf.{name}_pb2" for name in _GOOGLE.split()},
    "rube/api.proto": "rube.api_pb2",
    **{
        f"rube/api/{module.name.removesuffix('_pb2')}.proto": f"rube.api.{module.name}"
        for module in pkgutil.iter_modules(rube.api.__path__)
        if module.name.endswith("_pb2")
    },
}

FILES: Final = frozenset({*_MODULES, VALIDATE_FILE})
"""Names of the provided files."""

PACKAGES: Final = ("api", "buf.validate", "core", "google.protobuf", "rube")
"""Packages in which no pushed type may be declared."""


@cache
def serialized(file: str) -> bytes:
    """Returns the provided file of that name as a FileDescriptorProto's bytes."""
    if file == VALIDATE_FILE:
        return validate_file()
    encoded: bytes = importlib.import_module(_MODULES[file]).DESCRIPTOR.serialized_pb
    return encoded


def descriptor(file: str) -> FileDescriptorProto:
    return FileDescriptorProto.FromString(serialized(file))


def is_reserved(full_name: str) -> bool:
    """Returns whether a name is in a package of `PACKAGES`, or is one."""
    return any(full_name == package or full_name.startswith(f"{package}.") for package in PACKAGES)
