"""Types and controllers that installed Python packages bring, by their entry points.

An adapter: it asks the running Python which packages it has. A package `acme-backup` says in its pyproject.toml

    [project.entry-points."rube.types"]
    backup = "acme_backup.backup_pb2"

    [project.entry-points."rube.controllers"]
    backups = "acme_backup.controller:Backups"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Final, NamedTuple

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


class InstalledTypes(NamedTuple):
    """The types of all installed packages, each an api.Type by its name, and what is wrong with packages.

    A package that is broken hides no other's types.
    """

    types: Mapping[str, Object]
    errors: Sequence[str]
    """Each names a package and an entry point that cannot be loaded, that is no module of a .proto file, or that brings
    a type of another package."""

    def find(self, type_name: str) -> Object | None:
        """Returns the type. Raises InvalidArgumentError if there is none, and a package is broken that may have it."""
        found = self.types.get(type_name)
        if found is None and self.errors:
            raise InvalidArgumentError("; ".join(self.errors), field=TYPES)
        return found


@cache
def installed_types() -> InstalledTypes:
    """Returns the types that installed packages bring."""
    found: dict[str, Object] = {}
    origins: dict[str, str] = {}
    errors = []
    for entry in sorted(entry_points(group=TYPES), key=_told):
        try:
            types = _types_of(entry)
        except InvalidArgumentError as error:
            errors.append(error.message)
            continue
        for obj in types:
            name = obj.metadata.name
            if name in found and found[name] != obj:
                errors.append(f"{_told(entry)} and {origins[name]} both bring type {name}: uninstall one")
            else:
                found[name], origins[name] = obj, _told(entry)
    return InstalledTypes(found, errors)


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


def _types_of(entry: EntryPoint) -> list[Object]:
    """Returns the types that an entry point brings. Raises InvalidArgumentError with the package and what is wrong."""
    loaded = load(entry)
    try:
        return checked_types(_files(loaded))
    except RubeError as error:
        raise InvalidArgumentError(f"{_told(entry)}: {error.message}", field=TYPES) from error


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
