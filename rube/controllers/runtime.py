"""The runtime: everything about a controller that is not its decision.

Each key is decided by one worker at a time. A decision is committed to the local store (outbox.py), then carried out:
actions by the driver at once, calls by a sender of their own (sender.py), so that an apiserver that is away or hangs
holds up no action. On start every key is decided again, and the rest of a crashed incarnation's decisions is carried
out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from google.protobuf.any_pb2 import Any
from google.protobuf.timestamp_pb2 import Timestamp

from rube.api import Action, Decision, Object, State
from rube.api.errors import DataLossError, ResourceExhaustedError, RubeError
from rube.api.keys import ObjectKey, key_of
from rube.api.times import NS_PER_S
from rube.client import Change, WorkQueue
from rube.controllers.attempts import Attempts
from rube.controllers.config import QUEUE, Decided, NodeController, RuntimeConfig
from rube.controllers.contract import EveryTypeController, ImpureControllerError, Input, evaluate
from rube.controllers.event_sender import EventSender
from rube.controllers.events import Reporter
from rube.controllers.outbox import Outbox
from rube.controllers.sender import Sender
from rube.controllers.wakes import Wakes
from rube.controllers.workers import Workers

_LOG = logging.getLogger("rube.controllers")


class Runtime:
    """Runs one controller until cancelled. The things that it manages stay as they are."""

    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config
        self._controller = config.decider
        self._driven = config.node_controller
        self._every = config.controller if isinstance(config.controller, EveryTypeController) else None
        self._clock = config.host.clock
        self._cache = config.cache
        name = self._controller.name
        self._random = config.host.random.stream(f"controller/{name}")
        self._outbox = Outbox(config.engine, name, config.host.random.uid)
        self._queue: WorkQueue[ObjectKey] = WorkQueue(self._clock, QUEUE)
        self._attempts = Attempts(self._clock, config.backoff, self._random)
        self._wakes = Wakes(name, config.wake_s_min)
        self._workers = Workers(self._queue, self._process, workers_max=config.workers_max, held_max=QUEUE.keys_max)
        self._deciding: set[ObjectKey] = set()
        self._waiting: set[ObjectKey] = set()  # for the cache to be synced, or to show their own writes
        self._reporter = Reporter(name, config.host.name, self._clock, config.host.random.uid, strict=config.strict)
        self._events = EventSender(config, self._outbox)
        self._sender = Sender(config, self._outbox, self._queue, self._deciding, self._events.offer)
        self._was_whole = False
        # The error of the last action of a key, until one succeeds.
        self._action_errors: dict[ObjectKey, str] = {}
        self._listeners: list[Callable[[ObjectKey], None]] = []
        self._start_wall_ns = self._clock.now_ns()
        clock = config.host.random.stream(f"controller/{name}/clock")
        self._clock_id = f"{config.host.name}-{clock.getrandbits(64):016x}"
        self._start_monotonic_ns = self._clock.monotonic_ns()

    async def run(self) -> None:
        """Decides and acts until cancelled. Raises errors that no retry can help, such as DataLossError of the local
        store."""
        self._outbox.load()
        self._cache.subscribe(self._on_change)
        self._on_change(None)
        if self._driven is not None:
            self._decide_all()  # with the server away the things on this machine are managed from the copy
        try:
            async with asyncio.TaskGroup() as group:
                self._workers.start(group)
                self._sender.start(group)
                self._events.start(group)
                group.create_task(self._resync())
                if self._driven is not None:
                    group.create_task(self._follow(self._driven))
                    group.create_task(self._recheck(self._driven))
        finally:
            self._cache.unsubscribe(self._on_change)

    # What others may ask

    def unsent_status(self, key: ObjectKey) -> Any | None:
        """Returns the status of that key's own object that is still to be reported; None if the server has the
        newest."""
        for call in self._outbox.get(key).left.calls:
            if call.update_status.key == key.to_proto() and not call.update_status.update_mask.paths:
                return call.update_status.status
        return None

    def subscribe(self, listener: Callable[[ObjectKey], None]) -> None:
        """Calls `listener` after each decision that was recorded."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Callable[[ObjectKey], None]) -> None:
        self._listeners.remove(listener)

    # What is to be decided

    def _on_change(self, change: Change | None) -> None:
        for key in sorted(self._waiting):
            self._queue.add(key)
        if change is None:
            self._sender.cache_moved()
            self._events.cache_moved()
            whole = self._cache.synced and self._cache.connected
            if whole and not self._was_whole:
                self._decide_all()
            self._was_whole = whole
            return
        if self._every is not None:
            changed = change.old if change.new is None else change.new
            assert changed is not None, "a change has an object before it or after it"
            self._requeue(self._every, changed)
        if change.key.type == self._controller.type:
            self._queue.add(change.key)
        for wanted in self._controller.inputs:
            if wanted.type == change.key.type and wanted.namespace in ("", change.key.namespace):
                for state in filter(None, (change.old, change.new)):
                    self._requeue(wanted, state)

    def _requeue(self, wanted: Input | EveryTypeController, changed: Object) -> None:
        try:
            for key in wanted.requeue(changed, self._cache):
                self._queue.add(key)
        except Exception as error:  # the controller's mistake; all keys are decided, whatever it would have named
            if self._config.strict:
                error.add_note(f"controller {self._controller.name}, after a change of {key_of(changed)}")
                raise
            _LOG.exception("controller %s failed on a change of %s", self._controller.name, key_of(changed))
            self._decide_all()

    def _decide_all(self) -> None:
        every = self._every
        keys = self._cache.keys(self._controller.type) if every is None else every.keys(self._cache)
        for key in keys:
            self._queue.add(key)
        for key in self._outbox.known():
            self._queue.add(key)

    async def _resync(self) -> None:
        """Decides everything again once in `resync_s`: a missed change costs time, never truth."""
        while True:
            if self._driven is not None:
                await self._find_orphans(self._driven)
            await self._clock.sleep(self._config.resync_s * (0.75 + self._random.random() / 2))
            self._decide_all()

    async def _find_orphans(self, driven: NodeController) -> None:
        """Queues the things on this machine for a decision, whether or not they have an object."""
        try:
            names = await driven.driver.list()
        except RubeError as error:
            _LOG.warning("cannot list what is on this machine: %s", error)
            return
        for name in names:
            self._changed_thing(driven, name)

    async def _follow(self, driven: NodeController) -> None:
        """Queues the driver's hints until cancelled; when they end, queues all things and takes up the hints again."""
        while True:
            try:
                async for name in driven.driver.changes():
                    self._changed_thing(driven, name)
            except RubeError as error:
                _LOG.warning("the driver's changes were lost: %s", error)
            await self._clock.sleep(self._config.driver_retry_s)
            await self._find_orphans(driven)

    async def _recheck(self, driven: NodeController) -> None:
        """Decides everything again each time the controller asks for it."""
        while True:
            await driven.recheck()
            self._decide_all()

    def _changed_thing(self, driven: NodeController, name: str) -> None:
        key = driven.controller.key_of_thing(name)
        if key is None:
            _LOG.warning("%s is not a name that controller %s gives: left alone", name, self._controller.name)
        else:
            self._queue.add(key)

    # One key

    async def _process(self, key: ObjectKey) -> None:
        if not self._cache.synced:
            if self._driven is not None:
                self._waiting.add(key)  # a thing without an object is not among the keys that are decided on sync
            return
        if not self._config.may_act():
            return  # a leader of a later term starts over
        if self._driven is None and not self._cache.connected:
            return  # without the server only things on this machine go on; the rest is decided when it is back
        if self._sender.defers(key):
            return
        try:
            if (decided := await self._decide(key)) is not None:
                await self._carry_out(key, *decided)
        except (DataLossError, ImpureControllerError):
            raise  # later decisions could not be stored, or trusted
        except (RubeError, TimeoutError) as error:
            self._retry(key, str(error) or type(error).__name__)
        except _MistakeError as mistake:
            self._mistaken(key, mistake.error)
        except Exception as error:
            self._mistaken(key, error)

    def _mistaken(self, key: ObjectKey, error: Exception) -> None:
        """Notes a mistake of the controller's, or of Rube's: it must not stop the other keys."""
        if self._config.strict:
            error.add_note(f"controller {self._controller.name}, deciding {key}")
            raise error from error.__cause__
        _LOG.error("controller %s failed on %s", self._controller.name, key, exc_info=error)
        self._retry(key, str(error) or type(error).__name__)

    def _retry(self, key: ObjectKey, why: str) -> None:
        """Tries again after the key's delay; one that is not over yet goes on."""
        delay_s = self._attempts.left_s(key)
        if not delay_s:
            delay_s = self._attempts.put_off(key)
            _LOG.warning("%s: %s: again in %.1f s: %s", self._controller.name, key, delay_s, why)
        self._queue.add_after(key, delay_s)

    async def _is_current(self, key: ObjectKey) -> bool:
        """Implements read-your-writes: returns False, to decide later, while the cache is behind the writes for this
        key.

        With the server away it cannot catch up, and the things on this machine must go on: then the copy is good
        enough.
        """
        seen = await self._outbox.forget_written(key, self._sender.is_seen)
        if seen or not self._cache.connected:
            self._waiting.discard(key)
            return True
        self._waiting.add(key)
        return False

    async def _decide(self, key: ObjectKey) -> _Decided | None:
        """Decides and records the decision; None: not now. Its calls are sent from here on, even while its actions take
        time."""
        self._deciding.add(key)
        try:
            if not await self._is_current(key):
                return None
            state = await self._state(key)
            with _pure_code():
                decision = evaluate(self._controller, state, check_purity=self._config.strict)
            self._sender.prepare(decision)
            self._config.observer(Decided(controller=self._controller.name, key=key, state=state, decision=decision))
            self._cache.assume(key, [obj for call in decision.calls for obj in call.put.objects])
            left = await self._record(key, state, decision)
            for listener in self._listeners:
                listener(key)
            return _Decided(state, decision, left)
        finally:
            self._deciding.discard(key)
            self._sender.offer(key)
            self._events.offer(key)

    async def _record(self, key: ObjectKey, state: State, decision: Decision) -> Decision:
        with _pure_code():
            noted = self._reporter.note(state, decision, self._outbox.told(key))
        try:
            return await self._outbox.record(key, decision, noted)
        except ResourceExhaustedError as error:
            self._config.unrecorded(key, error)
            raise

    async def _carry_out(
        self,
        key: ObjectKey,
        state: State,
        decision: Decision,
        left: Decision,
    ) -> None:
        if decision.HasField("wake_after"):
            self._queue.add_after(key, self._wakes.delay_s(key, decision.wake_after.ToNanoseconds() / NS_PER_S))
        if state.observe_error:
            self._retry(key, f"cannot observe it: {state.observe_error}")
        elif not left.actions:
            self._attempts.forget(key)
        under_way = False
        for action in left.actions:
            if (early_s := self._attempts.early_s(key, action)) > 0:
                self._queue.add_after(key, early_s)
                return
            if under_way := await self._act(key, action):
                break
        if left.actions:
            # Actions without end come more and more slowly.
            self._queue.add_after(key, self._attempts.put_off(key, under_way=under_way))

    async def _act(self, key: ObjectKey, action: Action) -> bool:
        """Carries out one action; returns whether it is still under way, to be asked for again when the thing has
        changed."""
        driven = self._driven
        assert driven is not None, f"controller {self._controller.name} has no driver and asks for actions"
        self._attempts.begin(key, action)
        try:
            async with self._clock.timeout(self._config.action_s_max):
                under_way = await driven.driver.apply(action)
        except RubeError as error:
            self._action_errors[key] = error.message
            raise
        except TimeoutError:
            self._action_errors[key] = f"not done within {self._config.action_s_max:g} s (action_s_max)"
            raise
        self._action_errors.pop(key, None)
        if not under_way:
            await self._outbox.action_done(key, action.id)
        return under_way

    async def _state(self, key: ObjectKey) -> State:
        state = State(key=key.to_proto(), now=self._now(), clock=self._clock_id)
        state.action_error = self._action_errors.get(key, "")
        obj = self._cache.get(key)
        if obj is not None:
            state.object.CopyFrom(obj)
        related: dict[ObjectKey, Object] = {}
        for wanted in self._controller.inputs if self._every is None else (self._every,):
            with _pure_code():
                related |= {key_of(found): found for found in wanted.select(key, obj, self._cache)}
        state.related.extend(related[each] for each in sorted(related))
        left = self._outbox.get(key).left
        state.actions_pending = bool(left.actions)
        if left.HasField("memory"):
            state.memory.CopyFrom(left.memory)
        if (driven := self._driven) is not None:
            try:
                state.observed.CopyFrom(await driven.driver.observe(driven.controller.thing_of(key)))
            except RubeError as error:
                state.observe_error = error.message
        return state

    def _now(self) -> Timestamp:
        """Returns the wall time as of the start plus the time since: it doesn't jump when the wall clock is set."""
        now = Timestamp()
        now.FromNanoseconds(self._start_wall_ns + self._clock.monotonic_ns() - self._start_monotonic_ns)
        return now


class _Decided(NamedTuple):
    state: State
    decision: Decision
    left: Decision


class _MistakeError(Exception):
    """An exception of a controller's own code, whatever it is: trying again could not help."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def _pure_code() -> Iterator[None]:
    try:
        yield
    except ImpureControllerError:
        raise
    except Exception as error:
        raise _MistakeError(error) from error
