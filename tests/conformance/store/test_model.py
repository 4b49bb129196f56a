"""Stores against a plain dictionary, as Hypothesis state machines: every kind of store, with crashes in a world.

A crash may come between any two steps, also while writes are under way: then the store's log must say which of them
were committed, and all that were acknowledged must be among them.
"""

from __future__ import annotations

from contextlib import aclosing
from itertools import groupby
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rube.api.errors import AbortedError, CompactedError, RubeError
from rube.store import Change, ChangeBatch, Compare, Op, Store, Txn
from tests.conformance.store.all_sites import SITES
from tests.conformance.store.store_rigs import CrashingEtcdRig, CrashingRig, RealRig, Rig
from tests.conformance.store.store_sites import SimSite

KEYS = [b"\x00", b"a", b"a\x00", b"ab", b"b" * 8, b"\xff"]
ALL = (b"", b"\xff" * 9)

Changes = dict[bytes, bytes | None]
State = dict[bytes, tuple[bytes, int, int]]

keys = st.sampled_from(KEYS)
values = st.one_of(st.none(), st.binary(max_size=20))
ops = st.dictionaries(keys, values, max_size=4)


class Model:
    """Every revision's whole state, as dictionaries of (value, create revision, mod revision)."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.states: list[tuple[int, State]] = [(base, {})]
        self.compacted = 0

    @property
    def revision(self) -> int:
        return self.states[-1][0]

    @property
    def newest(self) -> State:
        return self.states[-1][1]

    def at(self, revision: int) -> State:
        return [state for at, state in self.states if at <= revision][-1]

    def back(self, steps: int) -> int:
        """A revision so many before the newest, at which the store was there already."""
        return max(self.revision - steps, self.base)

    def apply(self, revision: int, changes: Changes) -> None:
        state = dict(self.newest)
        for key, value in changes.items():
            if value is None:
                state.pop(key, None)
            else:
                created = state[key][1] if key in state else revision
                state[key] = (value, created, revision)
        self.states.append((revision, state))

    def effect(self, changes: Changes, revision: int | None = None) -> Changes:
        """The operations of it that change the newest state, or that at a revision."""
        state = self.newest if revision is None else self.at(revision)
        return {key: value for key, value in changes.items() if value is not None or key in state}


class StoreMachine(RuleBasedStateMachine):
    """The steps that every store can do. `make` gives the rig."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = self.make()
        self.model = Model(0 if self.rig.owned else self.rig.store.revision)

    def make(self) -> Rig:
        raise NotImplementedError

    def teardown(self) -> None:
        self.rig.stop()

    # Steps

    @rule(changes=ops, expected=st.dictionaries(keys, st.sampled_from(["right", "wrong"]), max_size=2))
    def commit(self, changes: Changes, expected: dict[bytes, str]) -> None:
        actual = {key: self.model.newest[key][2] if key in self.model.newest else 0 for key in expected}
        compares = tuple(Compare(key, actual[key] + (how == "wrong")) for key, how in expected.items())
        txn = Txn(tuple(Op(key, value) for key, value in changes.items()), compares)
        outcome = self.rig.ask(lambda store: store.commit(txn))
        wrong = [key for key, how in expected.items() if how == "wrong"]
        if wrong:
            assert isinstance(outcome, AbortedError)
            assert outcome.metadata["revision"] == str(actual[wrong[0]])
        elif self.model.effect(changes):
            assert outcome > self.model.revision
            self.model.apply(outcome, changes)
        else:
            self.check_revision(outcome)

    @rule(batch=st.lists(ops, min_size=2, max_size=6))
    def commit_together(self, batch: list[Changes]) -> None:
        outcomes = self.rig.together([_writing(changes) for changes in batch])
        assert all(isinstance(outcome, int) for outcome in outcomes), outcomes
        self.settle(batch, outcomes)

    def settle(self, batch: list[Changes], outcomes: list[Any]) -> None:
        """Takes up what of some transactions the log says was committed. Outcomes of acknowledged ones are ints."""
        left = list(range(len(batch)))
        for revision, group in groupby(self.log(), key=lambda change: change.record.mod_revision):
            found = {change.record.key: None if change.deleted else change.record.value for change in group}
            effective = [index for index in left if self.model.effect(batch[index])]
            fitting = [index for index in effective if self.model.effect(batch[index]) == found]
            assert fitting, f"no client wrote {found} at revision {revision}"
            unknown = [index for index in fitting if not isinstance(outcomes[index], int)]
            taken = next((index for index in fitting if outcomes[index] == revision), (unknown or fitting)[0])
            if self.rig.in_order:
                assert taken == effective[0], "a later write was kept and an earlier one lost"
                left = [index for index in left if index >= taken]
            assert not isinstance(outcomes[taken], int) or outcomes[taken] == revision
            left.remove(taken)
            self.model.apply(revision, batch[taken])
        for index in left:  # it changed nothing when its turn came, or was never acknowledged
            lost = isinstance(outcomes[index], int) and self.model.effect(batch[index], outcomes[index])
            assert not lost, f"{lost} was acknowledged at revision {outcomes[index]} and is not in the log"

    def log(self) -> list[Change]:
        """Everything after the model's revision."""
        newest = self.rig.ask(lambda store: store.range(*ALL)).revision
        batches = self.follow(self.model.revision, newest)
        assert not isinstance(batches, RubeError), batches
        return [change for batch in batches for change in batch.changes]

    @rule()
    def restart(self) -> None:
        self.rig.restart()

    @rule(back=st.integers(0, 5))
    def compact(self, back: int) -> None:
        revision = self.model.back(back)
        assert self.rig.ask(lambda store: store.compact(revision)) is None
        self.model.compacted = max(self.model.compacted, revision)

    # What must hold

    @rule(back=st.integers(0, 12), limit=st.integers(0, 4))
    def read(self, back: int, limit: int) -> None:
        revision = self.model.back(back)
        page = self.rig.ask(lambda store: store.range(*ALL, revision=revision, limit=limit))
        if 0 < revision < self.model.compacted:
            self.check_compacted(page)
            return
        expected = [
            (key, value, created, modified)
            for key, (value, created, modified) in sorted(self.model.at(revision or self.model.revision).items())
        ]
        assert page.more == (0 < limit < len(expected))
        assert [tuple(record) for record in page.records] == expected[: limit or None]

    @rule(back=st.integers(0, 12))
    def watch(self, back: int) -> None:
        after = self.model.back(back)
        batches = self.follow(after, self.model.revision)
        if after < self.model.compacted:
            self.check_compacted(batches)
            return
        replayed = dict(self.model.at(after))
        for batch in batches:
            for change in batch.changes:
                record, before = change.record, replayed.pop(change.record.key, None)
                assert (tuple(change.previous)[1:] if change.previous else None) == before
                if not change.deleted:
                    replayed[record.key] = (record.value, record.create_revision, record.mod_revision)
            assert replayed == self.model.at(batch.revision)

    def follow(self, after: int, target: int) -> Any:
        """The events of a watch up to a revision, or the reason why it is refused."""

        async def follow(store: Store) -> list[ChangeBatch]:
            batches = []
            async with aclosing(store.watch(*ALL, after_revision=after)) as changes:  # type: ignore[type-var]
                async for batch in changes:
                    batches.append(batch)
                    if batch.revision >= target:
                        break
            return batches

        return self.rig.ask(follow)

    def check_compacted(self, outcome: Any) -> None:
        assert isinstance(outcome, CompactedError), outcome
        assert outcome.metadata["oldest_revision"] == str(self.model.compacted)

    def check_revision(self, revision: int) -> None:
        """The newest: the model's, or a later one of another client of the store."""
        assert revision == self.model.revision or (not self.rig.owned and revision > self.model.revision)

    @invariant()
    def the_newest_state_is_the_models(self) -> None:
        page = self.rig.ask(lambda store: store.range(*ALL))
        assert {record.key: tuple(record)[1:] for record in page.records} == self.model.newest
        self.check_revision(page.revision)
        self.check_revision(self.rig.store.revision)


class CrashingMachine(StoreMachine):
    """Faults that a store must survive besides."""

    rig: CrashingRig

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        self.rig.crash(data.draw(st.sampled_from(self.rig.crashes)))

    @rule(batch=st.lists(ops, min_size=2, max_size=6), at=st.integers(0, 9), data=st.data())
    def crash_under_writes(self, batch: list[Changes], at: int, data: st.DataObject) -> None:
        outcomes = self.rig.begin([_writing(changes) for changes in batch])
        self.rig.run_for(at * self.rig.step_s)
        self.rig.crash(data.draw(st.sampled_from(self.rig.crashes)))
        self.settle(batch, [outcome[0] if outcome else None for outcome in outcomes])

    @rule(back=st.integers(0, 5), steps=st.sampled_from([0, 1, 3]), data=st.data())
    def crash_under_compaction(self, back: int, steps: int, data: st.DataObject) -> None:
        """It is done afterwards, or it never began."""
        revision = self.model.back(back)
        self.rig.begin([lambda store: store.compact(revision)])
        self.rig.run_for(steps * 2.6 * self.rig.step_s)
        self.rig.crash(data.draw(st.sampled_from(self.rig.crashes)))
        begun = revision > max(self.model.compacted, self.model.base)
        if begun and isinstance(self.follow(revision - 1, revision), CompactedError):
            self.model.compacted = revision


def _writing(changes: Changes) -> Any:
    txn = Txn(tuple(Op(key, value) for key, value in changes.items()))
    return lambda store: store.commit(txn)


class SimulatedMachine(CrashingMachine):
    def make(self) -> Rig:
        return CrashingRig(SimSite(seed=1))


class SimulatedEtcdMachine(CrashingMachine):
    def make(self) -> Rig:
        return CrashingEtcdRig()


def _real(kind: str, *, owned: bool) -> Any:
    """The machine of one kind of store on the real loop."""

    class RealMachine(StoreMachine):
        def make(self) -> Rig:
            return RealRig(SITES[kind], owned=owned)

    case = RealMachine.TestCase
    case.settings = _settings(examples_max=6, steps_max=15)
    return case


def _settings(examples_max: int, steps_max: int) -> settings:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples_max, stateful_step_count=steps_max, suppress_health_check=slow)


TestSimulated = SimulatedMachine.TestCase
TestSimulated.settings = _settings(examples_max=30, steps_max=30)
TestSimulatedEtcd = SimulatedEtcdMachine.TestCase
TestSimulatedEtcd.settings = _settings(examples_max=10, steps_max=20)
TestMemory = _real("memory", owned=True)
TestSqlite = _real("sqlite", owned=True)
TestRocksdb = _real("rocksdb", owned=True)
TestEtcd = _real("etcd", owned=False)
TestMysql = _real("mysql", owned=False)
