"""The names of Rube's units on a machine."""

from __future__ import annotations

from rube.api.errors import InvalidArgumentError
from rube.api.keys import validate_name

PREFIX = "rube-"
SUFFIX = ".service"


def unit_name(namespace: str, name: str) -> str:
    """Returns `rube-system.indexer.service` for `("system", "indexer")`.

    Namespace and name are DNS labels, which may hold `-` but never `.`, so that no two objects share a unit. The prefix
    lets an administrator's drop-in `rube-.service.d` reach all of Rube's units (systemd.unit(5)).

    Raises InvalidArgumentError for anything but a DNS label; an empty namespace is legal.
    """
    if namespace:
        validate_name("metadata.namespace", namespace)
    validate_name("metadata.name", name)
    return f"{PREFIX}{namespace}.{name}{SUFFIX}"


def parse_unit_name(unit: str) -> tuple[str, str] | None:
    """Returns the namespace and name that `unit_name` made `unit` from; None if it did not."""
    if not (unit.startswith(PREFIX) and unit.endswith(SUFFIX)):
        return None
    namespace, dot, name = unit[len(PREFIX) : -len(SUFFIX)].partition(".")
    if not dot:
        return None
    try:
        return (namespace, name) if unit_name(namespace, name) == unit else None
    except InvalidArgumentError:
        return None
