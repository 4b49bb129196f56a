"""Controllers by name: `package.module:Name`, or the entry point of an installed package."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from rube.api.errors import InvalidArgumentError
from rube.api.spelling import suggestion
from rube.installed import installed, load


def find(name: str, group: str, others: Iterable[str] = ()) -> Any:
    """Returns what a name stands for; `group` is that of the entry points, `others` are further names to suggest.

    Raises InvalidArgumentError that says what is missing: the module, the name in it, or the entry point.
    """
    if ":" in name:
        return _import(name)
    entries = installed(group)
    if name not in entries:
        known = [*others, *entries]
        near = f"{suggestion(name, known)}; " if known else ""
        raise InvalidArgumentError(
            f"there is no controller {name!r}; {near}one of your own is named package.module:Name, or by the entry "
            f"point {group} of an installed package",
            field="controllers",
        )
    return load(entries[name])


def _import(name: str) -> Any:
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever a user's module raises
        raise InvalidArgumentError(
            f"controller {name!r}: cannot import {module_name!r}: {type(error).__name__}: {error}", field="controllers"
        ) from error
    if not hasattr(module, attribute):
        public = [word for word in vars(module) if not word.startswith("_")]
        raise InvalidArgumentError(
            f"controller {name!r}: {module_name} has no {attribute!r}; {suggestion(attribute, public)}",
            field="controllers",
        )
    return getattr(module, attribute)
