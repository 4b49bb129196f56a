"""Compiled .proto files, and the types in them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from rube.api import Metadata, Object, Type
from rube.api.errors import InvalidArgumentError
from rube.api.resource_pb2 import resource
from rube.api.types.kinds import pack
from rube.api.types.provided import FILES
from rube.api.types.pushed import checked_kind


def types_of(compiled: FileDescriptorSet, sources: Sequence[str]) -> list[Object]:
    """Returns an api.Type for each message that has the option `(api.resource)`, in the order of the files; each with
    the files that it needs, without those that every server has. `sources` are the compiled files' paths: other files
    come only with them, and their messages make no types.

    The names in a set are relative to the compiler's roots, so that a source is known by the end of its path.
    """
    files = {file.name: file for file in compiled.file}
    own = [file for file in compiled.file if any(f"/{source}".endswith(f"/{file.name}") for source in sources)]
    found = []
    for file in own or compiled.file:
        if file.name in FILES:
            continue
        for message in file.message_type:
            if message.options.HasExtension(resource):
                name = f"{file.package}.{message.name}".lstrip(".")
                needed = FileDescriptorSet(file=_needed(file, files))
                found.append(Object(metadata=Metadata(name=name), spec=pack(Type(files=needed))))
    return found


def checked_types(files: FileDescriptorSet, sources: Sequence[str] = ()) -> list[Object]:
    """Does what `types_of` does, without comments: what a simulation stores, and so its hash, must not depend on the
    compiler's version.

    Raises InvalidArgumentError if there is none, and for what a server would refuse.
    """
    found = types_of(files, sources)
    if not found:
        raise InvalidArgumentError(
            "no message has the option (api.resource), which makes it a type of object: import "
            "rube/api/resource.proto and write 'option (api.resource) = {};' in one that is not within another"
        )
    for obj in found:
        pushed = Type.FromString(obj.spec.value)
        for file in pushed.files.file:
            file.ClearField("source_code_info")
        kind = checked_kind(obj.metadata.name, pushed)
        obj.spec.CopyFrom(pack(Type.FromString(kind.source)))
    return found


def files_of(*modules: ModuleType) -> FileDescriptorSet:
    """Returns the .proto files that generated modules (`backup_pb2`) were made of, each after those that it imports,
    without those that every server has."""
    found: dict[str, FileDescriptorProto] = {}

    def add(file: FileDescriptor) -> None:
        if file.name in FILES or file.name in found:
            return
        for imported in file.dependencies:
            add(imported)
        found[file.name] = FileDescriptorProto.FromString(file.serialized_pb)

    for module in modules:
        add(module.DESCRIPTOR)
    return FileDescriptorSet(file=found.values())


def _needed(file: FileDescriptorProto, files: dict[str, FileDescriptorProto]) -> list[FileDescriptorProto]:
    """Returns a file after those that it imports."""
    found: dict[str, FileDescriptorProto] = {}

    def add(name: str) -> None:
        if name in FILES or name in found or name not in files:
            return
        for imported in files[name].dependency:
            add(imported)
        found[name] = files[name]

    add(file.name)
    return list(found.values())
