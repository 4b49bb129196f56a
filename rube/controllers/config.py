"""The configuration of a runtime."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from google.protobuf.message import Message

from rube.api import Decision, Fence, State
from rube.api.errors import ResourceExhaustedError, RubeError
from rube.api.keys import ObjectKey
from rube.client import WorkQueueConfig
from rube.controllers.backoff import BackoffConfig
from rube.controllers.contract import Controller, DrivenController
from rube.controllers.driver import Driver
from rube.controllers.ports import Cache, Calls
from rube.host import Engine, Host

_LOG = logging.getLogger("rube.controllers")


QUEUE = WorkQueueConfig(keys_max=1_000_000)
"""Room for every object of a type: a controller's queue holds each at most once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One decision, for a trace or a record. Read only. The hashes are of the deterministic bytes."""

    controller: str
    key: ObjectKey
    state: State
    decision: Decision

    @property
    def state_sha256(self) -> str:
        return hashlib.sha256(self.state.SerializeToString(deterministic=True)).hexdigest()

    @property
    def decision_sha256(self) -> str:
        return hashlib.sha256(self.decision.SerializeToString(deterministic=True)).hexdigest()


DecisionObserver = Callable[[Decided], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A call of a decision that the apiserver refuses permanently: the key is decided again."""

    controller: str
    key: ObjectKey
    """The key of the object that was decided about."""
    error: RubeError


RefusalObserver = Callable[[Refused], None]


def observe_no_refusal(refused: Refused) -> None:
    _LOG.debug("%s was refused a call of %s", refused.controller, refused.key)


def observe_nothing(decided: Decided) -> None:
    _LOG.debug("%s decided %s", decided.controller, decided.key)


UnrecordedObserver = Callable[[ObjectKey, ResourceExhaustedError], None]


def observe_nothing_unrecorded(key: ObjectKey, error: ResourceExhaustedError) -> None:
    _LOG.debug("a decision about %s was not recorded: %s", key, error)


def no_problem(decided: Decided) -> str:
    """Reports no problem, for controllers whose statuses say everything."""
    return ""


async def never() -> None:
    """Waits until cancelled, for controllers that decide from their state alone."""
    await asyncio.Event().wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeController:
    """A controller that manages things on one machine, its driver, and a rubelet's knowledge of the two.

    It sees every object of its type that is bound to the node, and no others: it has neither a selector nor inputs.
    """

    controller: DrivenController
    driver: Driver
    driver_name: str
    """The driver's name in the node's status, such as `systemd`."""
    removal: Callable[[str], Message]
    """Returns the action that stops and removes the thing of that name, whatever is known of it."""
    unstored_status: Callable[[str, str], Message]
    """Returns a status, from the node's name and a reason, which says that the node has not stored the object. Only the
    fields that it sets are written."""
    problem: Callable[[Decided], str] = no_problem
    """Returns the problem in a decision that no object's own status can show, as a sentence; empty if there is none."""
    observer: DecisionObserver = observe_nothing
    recheck: Callable[[], Awaitable[None]] = never
    """Returns when everything is to be decided again, such as after a change of the node's policy, and is then called
    again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfig:
    """The configuration of a runtime.

    `may_act` is called before each decision and each effect (leadership); `fence` is put into each call when it is
    decided.
    """

    host: Host
    controller: Controller | NodeController
    """The controller; a node's comes with the driver of what it manages."""
    cache: Cache
    calls: Calls
    engine: Engine
    fence: Fence | None = None
    may_act: Callable[[], bool] = lambda: True
    observer: DecisionObserver = observe_nothing
    refusals: RefusalObserver = observe_no_refusal
    """Called with each call that was refused."""
    unrecorded: UnrecordedObserver = observe_nothing_unrecorded
    """Called with each decision that the local store had no room for; nothing of it is carried out."""
    strict: bool = False
    """For tests and simulations: `decide` is called twice (ImpureControllerError), and an exception of the controller's
    ends the runtime, which otherwise goes on with the other keys."""
    backoff: BackoffConfig = field(default_factory=BackoffConfig)
    # Workers and senders that are not held up, and senders that are (workers: as many as there are keys).
    workers_max: int = 16
    senders_max: int = 8
    senders_held_max: int = 256
    event_senders_max: int = 2
    call_s_max: float = 10.0
    action_s_max: float = 60.0
    driver_retry_s: float = 1.0
    wake_s_min: float = 0.1
    """A decision's `wake_after` counts as at least so much, so that no key is decided without pause."""
    resync_s: float = 60.0
    """Every key is decided again after about this long, and the driver's list compared with the objects."""

    @property
    def node_controller(self) -> NodeController | None:
        return self.controller if isinstance(self.controller, NodeController) else None

    @property
    def decider(self) -> Controller:
        """The controller without a driver."""
        return self.controller.controller if isinstance(self.controller, NodeController) else self.controller
