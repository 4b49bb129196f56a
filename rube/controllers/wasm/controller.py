"""A controller that is a WebAssembly module."""

from __future__ import annotations

import hashlib
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from google.protobuf.message import DecodeError

from rube.api import ControllerSpec, CoreEvent, Decision, State
from rube.api.errors import InvalidArgumentError
from rube.controllers.spec import SpecController, inputs_of
from rube.controllers.wasm.limits import LimitExceededError, Limits, limits_from
from rube.controllers.wasm.module import Module, TrapError

SUFFIX: Final = ".wasm"
RETRY_S: Final = 60
"""A decision that exceeded a limit is tried again after so long, or when something changes."""


class WasmController(SpecController):
    """The controller of a module. A call that exceeds a limit decides nothing, and an event of the object names the
    limit; one that traps is a mistake of the controller's, as an exception is in Python."""

    def __init__(self, code: bytes, limits: Limits) -> None:
        """Raises InvalidArgumentError for a module that is none, or whose spec is wrong."""
        self.digest = hashlib.sha256(code).hexdigest()
        self._module = Module(code, limits)
        try:
            self.spec = ControllerSpec.FromString(self._module.describe())
        except (LimitExceededError, TrapError) as error:
            raise InvalidArgumentError(f"rube_describe failed: {error}") from error
        except DecodeError as error:
            raise InvalidArgumentError("rube_describe gave no api.controller.ControllerSpec") from error
        inputs_of(self.spec)

    def decide(self, state: State) -> Decision:
        """Returns what the module decides. Raises TrapError, also for a result that is no Decision."""
        try:
            result = self._module.decide(
                state.SerializeToString(deterministic=True),
                name=self.name,
                now_ns=state.now.ToNanoseconds(),
                seed=_seed(state),
            )
        except LimitExceededError as error:
            return _undecided(state, error)
        try:
            return Decision.FromString(result)
        except DecodeError as error:
            raise TrapError(f"rube_decide gave {len(result)} bytes that are no api.controller.Decision") from error


def wasm_controller(name: str) -> WasmController:
    """Returns the controller of `path.wasm`, or `path.wasm?fuel=…&memory_mib=…`; the file is where Python would find a
    module. Raises InvalidArgumentError that names the file and what is wrong with it."""
    file, _, options = name.partition("?")
    try:
        return _made(_find(file).read_bytes(), limits_from(dict(parse_qsl(options, keep_blank_values=True))))
    except OSError as error:
        raise InvalidArgumentError(
            f"controller {name!r}: cannot read it: {error.strerror}", field="controllers"
        ) from error
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"controller {name!r}: {error.message}", field="controllers") from error


@lru_cache(maxsize=64)
def _made(code: bytes, limits: Limits) -> WasmController:
    """Returns one controller for equal code: it keeps nothing between decisions."""
    return WasmController(code, limits)


def _find(file: str) -> Path:
    """Returns the path: beside the scenario, in the working directory, or as it is, if it is absolute."""
    places = [Path(place) / file for place in sys.path]
    return next((path for path in places if path.is_file()), Path(file))


def _seed(state: State) -> bytes:
    key = state.key.SerializeToString(deterministic=True)
    return b"%d %d %s" % (state.object.metadata.revision, len(key), key)


def _undecided(state: State, error: LimitExceededError) -> Decision:
    decision = Decision()
    if state.HasField("memory"):
        decision.memory.CopyFrom(state.memory)
    decision.wake_after.seconds = RETRY_S
    decision.events.add(type=CoreEvent.WARNING, reason=error.reason, message=f"nothing was decided: {error}")
    return decision
