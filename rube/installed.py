"""Types and controllers that installed Python packages bring, by their entry points.

An adapter: it asks the running Python which packages it has. A package `acme-backup` says in its pyproject.toml

    [project.entry-points."rube.types"]
    backup = "acme_backup.backup_pb2"

    [project.entry-points."rube.controllers"]
    backups = "acme_backup.controller:Backups"
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from rube.api import Object
from rube.api.errors import InvalidArgumentError, RubeError
from rube.api.types.protos import checked_types, files_of

TYPES: Final = "rube.types"
"""Generated modules, or FileDescriptorSets."""
CONTROLLERS: Final = "rube.controllers"
"""Cluster controllers by the names that --controllers takes."""
NODE_CONTROLLERS: Final = "rube.node_controllers"
"""Node controllers by the names that `rubelet --controllers` takes."""


@cache
def installed_types() -> Mapping[str, Object]:
    """Returns an api.Type for each type that installed packages bring, by name.

    Raises InvalidArgumentError, which names the package and the entry point, for one that cannot be loaded, that is no
    module of a .proto file, and for a type that two packages bring.
    """
    found: dict[str, Object] = {}
    origins: dict[str, str] = {}
    for entry in sorted(entry_points(group=TYPES), key=_told):
        try:
            types = checked_types(_files(load(entry)))
        except RubeError as error:
            raise InvalidArgumentError(f"{_told(entry)}: {error.message}", field=TYPES) from error
        for obj in types:
            name = obj.metadata.name
            if name in found and found[name] != obj:
                raise InvalidArgumentError(
                    f"{_told(entry)} and {origins[name]} both bring type {name}: uninstall one", field=TYPES
                )
            found[name], origins[name] = obj, _told(entry)
    return found


@cache
def installed(group: str) -> Mapping[str, EntryPoint]:
    """Returns the entry points of a group by name. Raises InvalidArgumentError for a name that two packages give."""
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=group), key=_told):
        if entry.name in found and found[entry.name].value != entry.value:
            raise InvalidArgumentError(
                f"{_told(entry)} and {_told(found[entry.name])} have one name: uninstall one", field=group
            )
        found[entry.name] = entry
    return found


def load(entry: EntryPoint) -> Any:
    """Returns what an entry point names. Raises InvalidArgumentError with the package and what went wrong."""
    try:
        return entry.load()
    except Exception as error:  # whatever a user's module raises
        raise InvalidArgumentError(
            f"{_told(entry)} cannot be loaded: {type(error).__name__}: {error}", field=entry.group
        ) from error


def _files(loaded: Any) -> FileDescriptorSet:
    if isinstance(loaded, FileDescriptorSet):
        return loaded
    if isinstance(loaded, ModuleType) and hasattr(loaded, "DESCRIPTOR"):
        return files_of(loaded)
    raise InvalidArgumentError(
        "it is neither a module that protoc has generated nor a FileDescriptorSet: name the _pb2 module", field=TYPES
    )


def _told(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist is not None else "a package"
    return f"{package}: entry point {entry.group} {entry.name!r} ({entry.value})"
