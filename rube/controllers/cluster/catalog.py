"""Cluster controllers by name: the built-in ones, installed packages', and a user's own as `package.module:Name`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rube.api import selectors
from rube.api.errors import InvalidArgumentError
from rube.api.keys import validate_name
from rube.api.spelling import suggestion
from rube.controllers.bringing import brought_types
from rube.controllers.cluster.garbage import EVENT_TTL_S, GarbageCollector
from rube.controllers.cluster.nodehealth import NodeHealth
from rube.controllers.cluster.placement import Placement
from rube.controllers.contract import Controller
from rube.controllers.spec import check_type
from rube.installed import CONTROLLERS, installed, load

CLUSTER_CONTROLLERS: Mapping[str, Callable[[], Controller]] = {
    "node-health": NodeHealth,
    "placement": Placement,
    "garbage-collector": GarbageCollector,
}


def make_controllers(names: Sequence[str], *, event_ttl_s: float = EVENT_TTL_S) -> list[Controller]:
    """Returns a controller for each name, in order; the garbage collector keeps events for `event_ttl_s`. Raises
    InvalidArgumentError, also if two have the same name."""
    made = [
        GarbageCollector(event_ttl_s=event_ttl_s) if name == GarbageCollector.name else make_controller(name)
        for name in names
    ]
    check_distinct(made)
    return made


def make_controller(name: str) -> Controller:
    """Returns a built-in controller; or `package.module:Name`, or what an installed package's entry point names, itself
    or the result of calling it without arguments.

    Raises InvalidArgumentError that says what is missing: the module, the name in it, or a part of a controller.
    """
    if (make := CLUSTER_CONTROLLERS.get(name)) is not None:
        return make()
    made = _made(name, _find(name))
    _check(name, made)
    return made


def check_distinct(controllers: Sequence[Controller]) -> None:
    """Raises InvalidArgumentError for two of one name: they would share a lease and their memory."""
    names = [controller.name for controller in controllers]
    for name in names:
        if names.count(name) > 1:
            raise InvalidArgumentError(f"two controllers are called {name!r}: rename one", field="controllers")


def _find(name: str) -> Any:
    """Returns what a name stands for: `package.module:Name`, or an entry point of an installed package."""
    if ":" in name:
        return _import(name)
    entries = installed(CONTROLLERS)
    if name not in entries:
        known = [*CLUSTER_CONTROLLERS, *entries]
        raise InvalidArgumentError(
            f"there is no controller {name!r}; {suggestion(name, known)}; one of your own is named "
            f"package.module:Name, or by the entry point {CONTROLLERS} of an installed package",
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


def _made(name: str, found: Any) -> Controller:
    """Returns a controller: what was found, or the result of calling it."""
    if not isinstance(found, type) and hasattr(found, "decide"):
        made: Controller = found
        return made
    try:
        made = found()
    except Exception as error:
        raise InvalidArgumentError(
            f"controller {name!r} cannot be made: {type(error).__name__}: {error}", field="controllers"
        ) from error
    return made


def _check(name: str, made: Controller) -> None:
    """Raises InvalidArgumentError for an object that is no controller (rube.controllers.contract.Controller)."""
    for attribute in ("name", "type", "selector", "inputs", "decide"):
        if attribute not in dir(made):
            raise InvalidArgumentError(f"{name!r} is no controller: it has no {attribute!r}", field="controllers")
    if not callable(made.decide):
        raise InvalidArgumentError(f"{name!r} is no controller: its 'decide' is no function", field="controllers")
    try:
        validate_name("name", made.name)
        for wanted in (made.type, *(each.type for each in made.inputs)):
            check_type(wanted)
        selectors.parse(made.selector)
        brought_types(made)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"controller {name!r}: {error.message}", field="controllers") from error
    except AttributeError as error:
        raise InvalidArgumentError(f"{name!r} is no controller: {error}", field="controllers") from error
    if made.type in {wanted.type for wanted in made.inputs}:
        raise InvalidArgumentError(
            f"controller {name!r}: {made.type} is its own type, and can't be an input too", field="controllers"
        )
