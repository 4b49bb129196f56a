"""Cluster controllers by name: the built-in ones, installed packages', and a user's own as `package.module:Name`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rube.api import selectors
from rube.api.errors import InvalidArgumentError
from rube.api.keys import validate_name
from rube.controllers.bringing import brought_types
from rube.controllers.cluster.garbage import EVENT_TTL_S, GarbageCollector
from rube.controllers.cluster.nodehealth import NodeHealth
from rube.controllers.cluster.placement import Placement
from rube.controllers.contract import Controller
from rube.controllers.naming import find
from rube.controllers.spec import check_type
from rube.distribution import missing_module
from rube.installed import CONTROLLERS

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
    or the result of calling it without arguments; or the WebAssembly module `path.wasm` (rube.controllers.wasm).

    Raises InvalidArgumentError that says what is missing: the module, the name in it, or a part of a controller.
    """
    if (make := CLUSTER_CONTROLLERS.get(name)) is not None:
        return make()
    made = _module(name) if _is_module(name) else _made(name, find(name, CONTROLLERS, CLUSTER_CONTROLLERS))
    _check(name, made)
    return made


def _is_module(name: str) -> bool:
    return name.partition("?")[0].endswith(".wasm")


def _module(name: str) -> Controller:
    try:
        from rube.controllers.wasm.controller import wasm_controller
    except ModuleNotFoundError as error:
        raise InvalidArgumentError(f"controller {name!r}: {missing_module(error)}", field="controllers") from error
    return wasm_controller(name)


def check_distinct(controllers: Sequence[Controller]) -> None:
    """Raises InvalidArgumentError for two of one name: they would share a lease and their memory."""
    names = [controller.name for controller in controllers]
    for name in names:
        if names.count(name) > 1:
            raise InvalidArgumentError(f"two controllers are called {name!r}: rename one", field="controllers")


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
