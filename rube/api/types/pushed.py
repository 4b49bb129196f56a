"""Types that were pushed: from an api.Type to a Kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from rube.api import Metadata, Object, Resource, Scope, Type
from rube.api.errors import InvalidArgumentError
from rube.api.resource_pb2 import resource as resource_option
from rube.api.spelling import quoted, suggestion
from rube.api.types.files import load
from rube.api.types.kinds import Column, Kind

COLUMNS_MAX: Final = 20
SHORT_NAMES_MAX: Final = 10
_HEAD_CHARS_MAX: Final = 40
_SHORT_NAME: Final = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?\Z")


def checked_kind(name: str, pushed: Type) -> Kind:
    """Does what `kind_of` does, and raises InvalidArgumentError for a rule that can never work."""
    kind = kind_of(name, pushed)
    kind.rules.check()
    return kind


def kind_from(obj: Object) -> Kind:
    """Returns the type that an object of api.Type is. Raises the errors of `kind_of`."""
    return kind_of(obj.metadata.name, Type.FromString(obj.spec.value))


def kind_of(name: str, pushed: Type) -> Kind:
    """Returns the type of that full name that an api.Type describes. Raises InvalidArgumentError, which names the file,
    the message or the field that is wrong."""
    resource = resource_in(name, pushed)
    loaded = load(pushed.files, root=name, status=resource.status)
    if resource.status == name:
        raise InvalidArgumentError(f"resource.status is {name}, as the spec is: use another", field="resource.status")
    spec = loaded.message_class(name)
    source = Type(files=pushed.files, resource=resource)
    status = loaded.message_class(resource.status) if resource.status else None
    roots = {"metadata": Metadata.DESCRIPTOR, "spec": spec.DESCRIPTOR}
    if status is not None:
        roots["status"] = status.DESCRIPTOR
    return Kind(
        spec=spec,
        status=status,
        namespaced=resource.scope != Scope.CLUSTER,
        columns=_columns(resource, roots),
        short_names=_short_names(resource),
        messages=loaded.messages,
        files=loaded.files,
        source=source.SerializeToString(deterministic=True),
    )


def resource_in(name: str, pushed: Type) -> Resource:
    """Returns the option (api.resource) of the message of that full name; empty: no file has the message.

    Raises InvalidArgumentError if the message has none.
    """
    for file in pushed.files.file:
        for message in file.message_type:
            if f"{file.package}.{message.name}".lstrip(".") == name:
                options = message.options
                if options.HasExtension(resource_option):
                    found: Resource = options.Extensions[resource_option]
                    if pushed.HasField("resource") and pushed.resource != found:
                        raise InvalidArgumentError(
                            f"resource differs from the option (api.resource) of message {name}: leave it out",
                            field="resource",
                        )
                    return found
                raise InvalidArgumentError(
                    f"message {name} has no option (api.resource), which makes it a type of object: write "
                    "'option (api.resource) = {};' in it, and import rube/api/resource.proto",
                    field="files",
                )
    return Resource()


def _columns(resource: Resource, roots: Mapping[str, Any]) -> tuple[Column, ...]:
    if len(resource.columns) > COLUMNS_MAX:
        raise InvalidArgumentError(
            f"resource.columns has {len(resource.columns)} columns, more than {COLUMNS_MAX}", field="resource.columns"
        )
    heads: set[str] = set()
    for index, column in enumerate(resource.columns):
        field = f"resource.columns[{index}]"
        if not column.name or len(column.name) > _HEAD_CHARS_MAX or not column.name.isprintable():
            raise InvalidArgumentError(
                f"{field}.name {quoted(column.name)} is no head of a column: use 1 to {_HEAD_CHARS_MAX} characters",
                field=f"{field}.name",
            )
        if column.name in heads:
            raise InvalidArgumentError(f"{field}.name {column.name!r} is there twice", field=f"{field}.name")
        heads.add(column.name)
        _check_path(field, column.path, roots)
    return tuple(Column(column.name, column.path) for column in resource.columns)


def _check_path(field: str, path: str, roots: Mapping[str, Any]) -> None:
    """Raises InvalidArgumentError unless the path leads through messages to a field."""
    begin, *steps = path.split(".")
    if begin not in roots or not steps:
        raise InvalidArgumentError(
            f"{field}.path {quoted(path)} begins with neither of {', '.join(f'{root}.' for root in roots)}",
            field=f"{field}.path",
        )
    message: Any = roots[begin]
    for step in steps:
        if message is None:
            raise InvalidArgumentError(
                f"{field}.path {quoted(path)} goes below a field that has none", field=f"{field}.path"
            )
        found = message.fields_by_name.get(step)
        if found is None:
            raise InvalidArgumentError(
                f"{field}.path {quoted(path)}: {message.full_name} has no field {quoted(step)}; "
                f"{suggestion(step, message.fields_by_name)}",
                field=f"{field}.path",
            )
        message = None if found.is_repeated else found.message_type


def _short_names(resource: Resource) -> tuple[str, ...]:
    if len(resource.short_names) > SHORT_NAMES_MAX:
        raise InvalidArgumentError(
            f"resource.short_names has {len(resource.short_names)} names, more than {SHORT_NAMES_MAX}",
            field="resource.short_names",
        )
    for index, name in enumerate(resource.short_names):
        if not _SHORT_NAME.match(name):
            raise InvalidArgumentError(
                f"resource.short_names[{index}] {quoted(name)} is no short name: use 1 to 40 of a-z, 0-9 and '-', "
                "beginning with a letter",
                field=f"resource.short_names[{index}]",
            )
    return tuple(resource.short_names)
