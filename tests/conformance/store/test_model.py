"""The store against a plain dictionary, with crashes between any two steps, as a Hypothesis state machine.

The world is a simulated one, driven from synchronous code: kill -9 and power loss come when Hypothesis says so, also
while writes are under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from store_sites import SimSite, open_store

from rube.api.errors import AbortedError, CompactedError
from rube.sim.kernel import SimProcess
from rube.store import ChangeBatch, Compare, Op, StoreConfig, Txn
from rube.store.mvcc import MvccStore

KEYS = [b"\x00", b"a", b"a\x00", b"ab", b"b" * 8, b"\xff"]
ALL = (b"", b"\xff" * 9)
SMALL = StoreConfig(tail_bytes_max=1500, watch_changes_max=2)

State = dict[bytes, tuple[bytes, int, int]]

keys = st.sampled_from(KEYS)
values = st.one_of(st.none(), st.binary(max_size=20))
CRASHES = st.sampled_from(["no", "kill", "power"])
ops = st.dictionaries(keys, values, max_size=4)


class Model:
    """Every revision's whole state, as dictionaries of (value, create revision, mod revision)."""

    def __init__(self) -> None:
        self.states: list[tuple[int, State]] = [(0, {})]
        self.compacted = 0

    @property
    def revision(self) -> int:
        return self.states[-1][0]

    @property
    def newest(self) -> State:
        return self.states[-1][1]

    def at(self, revision: int) -> State:
        return [state for at, state in self.states if at <= revision][-1]

    def apply(self, revision: int, changes: dict[bytes, bytes | None]) -> None:
        state = dict(self.newest)
        for key, value in changes.items():
            if value is None:
                state.pop(key, None)
            else:
                created = state[key][1] if key in state else revision
                state[key] = (value, created, revision)
        self.states.append((revision, state))

    def has_effect(self, changes: dict[bytes, bytes | None]) -> bool:
        return any(value is not None or key in self.newest for key, value in changes.items())


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.site = SimSite(seed=1)
        self.model = Model()
        self.process: SimProcess | None = None
        self.store: MvccStore | None = None
        self.store_id = ""
        self.start()

    def teardown(self) -> None:
        self.site.world.close()

    # Driving the store inside its own process

    def start(self) -> None:
        async def serve() -> None:
            self.store = await open_store(self.site, SMALL)
            await asyncio.Event().wait()

        self.store = None
        self.process = self.site.sim_host.spawn("store", serve)
        self.site.world.run_until(lambda: self.store is not None)
        assert self.store is not None
        self.store_id = self.store_id or self.store.store_id
        assert self.store.store_id == self.store_id

    def spawn(self, call: Callable[[MvccStore], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
        assert self.process is not None
        assert self.store is not None
        return self.process.create_task(call(self.store))

    def ask(self, call: Callable[[MvccStore], Coroutine[Any, Any, Any]]) -> Any:
        outcome: list[Any] = []

        async def body(store: MvccStore) -> None:
            try:
                outcome.append(await call(store))
            except (AbortedError, CompactedError) as error:
                outcome.append(error)

        self.spawn(body)
        self.site.world.run_until(lambda: bool(outcome))
        return outcome[0]

    # Steps

    @rule(changes=ops, expected=st.dictionaries(keys, st.sampled_from(["right", "wrong"]), max_size=2))
    def commit(self, changes: dict[bytes, bytes | None], expected: dict[bytes, str]) -> None:
        actual = {key: self.model.newest[key][2] if key in self.model.newest else 0 for key in expected}
        compares = tuple(Compare(key, actual[key] + (how == "wrong")) for key, how in expected.items())
        txn = Txn(tuple(Op(key, value) for key, value in changes.items()), compares)
        outcome = self.ask(lambda store: store.commit(txn))
        wrong = [key for key, how in expected.items() if how == "wrong"]
        if wrong:
            assert isinstance(outcome, AbortedError)
            assert outcome.metadata["revision"] == str(actual[wrong[0]])
        elif self.model.has_effect(changes):
            assert outcome > self.model.revision
            self.model.apply(outcome, changes)
        else:
            assert outcome == self.model.revision

    @rule(
        batch=st.lists(ops, min_size=2, max_size=6),
        crash=st.sampled_from(["no", "kill", "power"]),
        at=st.integers(0, 9),
    )
    def commit_together(self, batch: list[dict[bytes, bytes | None]], crash: str, at: int) -> None:
        """Several at once, in order; a crash may come before some are acknowledged: then a prefix survives."""
        acknowledged: list[int] = []

        async def write(store: MvccStore, changes: dict[bytes, bytes | None]) -> None:
            acknowledged.append(await store.commit(Txn(tuple(Op(key, value) for key, value in changes.items()))))

        for changes in batch:
            self.spawn(lambda store, changes=changes: write(store, changes))
        if crash == "no":
            self.site.world.run_until(lambda: len(acknowledged) == len(batch))
        else:
            self.site.world.run_for(at * 50e-6)
            self.crash(crash)
        assert self.store is not None
        for number, changes in enumerate(batch):
            if number >= len(acknowledged) and self.store.revision == self.model.revision:
                break  # it and all after it were lost, and nobody was told otherwise
            if self.model.has_effect(changes):
                self.model.apply(self.model.revision + 1, changes)
        assert acknowledged == sorted(acknowledged)
        assert all(revision <= self.model.revision for revision in acknowledged)

    @rule(how=st.sampled_from(["kill", "power"]))
    def crash(self, how: str) -> None:
        assert self.process is not None
        if how == "kill":
            self.process.kill()
        else:
            self.site.sim_host.power_off()
            self.site.sim_host.power_on()
        self.start()

    @rule()
    def restart(self) -> None:
        self.ask(lambda store: store.close())
        assert self.process is not None
        self.process.kill()
        self.start()

    @rule(back=st.integers(0, 5), crash_after=st.sampled_from([None, 0, 1, 3]))
    def compact(self, back: int, crash_after: int | None) -> None:
        revision = max(self.model.revision - back, 0)
        if crash_after is None:
            assert self.ask(lambda store: store.compact(revision)) is None
        else:
            self.spawn(lambda store: store.compact(revision))
            self.site.world.run_for(crash_after * 130e-6)
            self.crash("power")
        assert self.store is not None
        done = self.store.compact_revision
        assert done in (self.model.compacted, max(self.model.compacted, revision))
        self.model.compacted = done

    # What must hold

    @rule(back=st.integers(0, 12), limit=st.integers(0, 4))
    def read(self, back: int, limit: int) -> None:
        revision = max(self.model.revision - back, 0)
        page = self.ask(lambda store: store.range(*ALL, revision=revision, limit=limit))
        if 0 < revision < self.model.compacted:
            assert isinstance(page, CompactedError)
            assert page.metadata["oldest_revision"] == str(self.model.compacted)
            return
        expected = [
            (key, value, created, modified)
            for key, (value, created, modified) in sorted(self.model.at(revision or self.model.revision).items())
        ]
        assert page.more == (0 < limit < len(expected))
        assert [tuple(record) for record in page.records] == expected[: limit or None]

    @rule(back=st.integers(0, 12))
    def watch(self, back: int) -> None:
        after = max(self.model.revision - back, 0)
        target = self.model.revision

        async def follow(store: MvccStore) -> list[ChangeBatch]:
            batches = []
            async for batch in store.watch(*ALL, after_revision=after):
                batches.append(batch)
                if batch.revision >= target:
                    break
            return batches

        batches = self.ask(follow)
        if after < self.model.compacted:
            assert isinstance(batches, CompactedError)
            return
        replayed = dict(self.model.at(after))
        for batch in batches:
            for change in batch.changes:
                record, before = change.record, replayed.pop(change.record.key, None)
                assert (tuple(change.previous)[1:] if change.previous else None) == before
                if not change.deleted:
                    replayed[record.key] = (record.value, record.create_revision, record.mod_revision)
            assert replayed == self.model.at(batch.revision)

    @invariant()
    def the_newest_state_is_the_models(self) -> None:
        assert self.store is not None
        assert self.store.revision == self.model.revision
        page = self.ask(lambda store: store.range(*ALL))
        assert {record.key: tuple(record)[1:] for record in page.records} == self.model.newest


class TestStore(StoreMachine.TestCase):  # type: ignore[misc]  # made at run time
    settings = settings(
        max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
