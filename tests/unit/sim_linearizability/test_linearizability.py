"""The checker against histories that others judged, against every order of small ones, and against planted mistakes."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from itertools import combinations, permutations
from pathlib import Path
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from rube.cli.main import rube
from rube.sim.linearizability import (
    REFUSED,
    UNKNOWN,
    Call,
    KeyValue,
    Model,
    Recorder,
    Refused,
    Register,
    check,
    print_history,
    read_history,
)
from rube.sim.world.kernel import World

HISTORIES = Path(__file__).parents[4] / "shared" / "testdata" / "histories"
VERDICTS = (
    [line.split() for line in (HISTORIES / "verdicts.txt").read_text().splitlines()] if HISTORIES.is_dir() else []
)
MAPS = sorted(HISTORIES.glob("kv-*.txt"))


@pytest.mark.parametrize(("name", "verdict"), VERDICTS)
def test_the_verdicts_of_others_on_registers(name: str, verdict: str) -> None:
    violation = check(read_history((HISTORIES / name).read_text()), Register())
    assert (violation is None) == (verdict == "linearizable"), violation


@pytest.mark.parametrize("path", MAPS, ids=lambda path: path.stem)
def test_the_verdicts_of_others_on_maps(path: Path) -> None:
    violation = check(read_history(path.read_text()), KeyValue())
    assert (violation is None) == path.stem.endswith("ok"), violation


def explained(calls: Sequence[Call], model: Model) -> bool:
    """The definition, word for word: some calls without an answer, in some order that keeps the order of times."""
    answered = [call for call in calls if call.end is not None]
    unanswered = [call for call in calls if call.end is None]
    for count in range(len(unanswered) + 1):
        for taken in combinations(unanswered, count):
            for order in permutations([*answered, *taken]):
                if _keeps_times(order) and _explains(order, model):
                    return True
    return False


def _keeps_times(order: Sequence[Call]) -> bool:
    return all(
        later.end is None or later.end >= earlier.start
        for place, earlier in enumerate(order)
        for later in order[place + 1 :]
    )


def _explains(order: Sequence[Call], model: Model) -> bool:
    state = model.initial()
    for call in order:
        state = model.step(state, call)
        if isinstance(state, Refused):
            return False
    return True


@st.composite
def register_histories(draw: st.DrawFn) -> list[Call]:
    values, calls = st.integers(0, 2), list[Call]()
    for number in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, 10))
        lost = draw(st.booleans()) and draw(st.booleans())
        action = draw(st.sampled_from(["read", "write", "cas"]))
        argument = {"read": None, "write": draw(values), "cas": (draw(values), draw(values))}[action]
        result = {"read": draw(st.none() | values), "write": None, "cas": draw(st.booleans())}[action]
        calls.append(
            Call(
                process=str(number),
                action=action,
                argument=argument,
                result=UNKNOWN if lost else result,
                start=start,
                end=None if lost else start + draw(st.integers(0, 6)),
            )
        )
    return calls


@given(register_histories())
def test_the_checker_finds_an_order_where_there_is_one(calls: list[Call]) -> None:
    assert (check(calls, Register()) is None) == explained(calls, Register())


@given(register_histories())
def test_a_printed_history_has_the_same_verdict(calls: list[Call]) -> None:
    read = read_history(print_history(calls))
    assert (check(read, Register()) is None) == (check(calls, Register()) is None)
    assert len(read) == len(calls)


def register_calls(seed: int, *, stale: bool) -> list[Call]:
    """The calls of four clients at a register whose answers take their time. `stale`: a read that is answered from what
    another server knew before."""
    with World(seed) as world:
        recorder, chance = Recorder(lambda: world.now_ns), world.random("test/calls")
        values = [None]

        async def write(value: int) -> None:
            await asyncio.sleep(chance.uniform(0, 0.01))
            values.append(value)  # type: ignore[arg-type]
            await asyncio.sleep(chance.uniform(0, 0.01))
            if chance.random() < 0.3:
                raise TimeoutError

        async def read() -> int | None:
            await asyncio.sleep(chance.uniform(0, 0.01))
            found = values[-6:][0] if stale and chance.random() < 0.2 else values[-1]
            await asyncio.sleep(chance.uniform(0, 0.01))
            return found

        async def client(name: str) -> None:
            for number in range(10):
                value = int(name) * 100 + number
                try:
                    if chance.random() < 0.5:
                        await recorder.call(write(value), process=name, action="write", argument=value)
                    else:
                        await recorder.call(read(), process=name, action="read")
                except TimeoutError:
                    continue

        async def main() -> None:
            await asyncio.gather(*(client(str(number)) for number in range(4)))

        world.run(main)
        return recorder.calls


@pytest.mark.parametrize("seed", range(5))
def test_a_register_that_keeps_its_promise_is_never_accused(seed: int) -> None:
    assert check(register_calls(seed, stale=False), Register()) is None


def test_stale_reads_are_found_and_shown() -> None:
    found = [violation for seed in range(5) if (violation := check(register_calls(seed, stale=True), Register()))]
    assert len(found) >= 4
    assert all(violation.call.action == "read" for violation in found)
    assert str(found[0]).startswith("no order of the calls explains ")


def test_one_wrong_key_is_found_beside_one_that_takes_long() -> None:
    open_writes = [
        Call(process=f"w{n}", action="write", key="a", argument=n, result=UNKNOWN, start=n, end=None) for n in range(40)
    ]
    hard = [Call(process="r", action="read", key="a", result=-1, start=100, end=101)]
    wrong = [Call(process="r", action="read", key="b", result=7, start=0, end=1)]
    violation = check([*open_writes, *hard, *wrong], Register())
    assert violation is not None
    assert violation.key == "b"
    with pytest.raises(TimeoutError, match="1 of 1 keys"):
        check([*open_writes, *hard], Register(), configurations_max=5000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{:process 0 :type :invoke :f :read", "line 1 is no operation"),
        ("hello", "line 1 is no operation"),
        ("{:process 0, :type :begin, :f :read}", "line 1: :type is ':begin'"),
        ("{:process 0, :type :ok, :f :read}", "process 0 ends a call that it has not begun"),
        ("{:process 0, :type :invoke, :f :read}\n" * 2, "its call of line 1 has not ended"),
        ("{:process 0, :type}", "the field :type has no value"),
        ('{:process 0, :type :invoke, :f :read, :time "a"}', ":time is 'a'"),
    ],
)
def test_a_file_that_is_no_history_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        read_history(text)


def test_an_unknown_action_names_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="it has read, write and cas"):
        check([Call(process="0", action="pop", start=0, end=1)], Register())


class Queue:
    """`put`, and `get`, which removes what it returns."""

    def initial(self) -> tuple[Hashable, ...]:
        return ()

    def step(self, state: Hashable, call: Call) -> Hashable | Refused:
        assert isinstance(state, tuple)
        if call.action == "put":
            return (*state, call.argument)
        first = state[0] if state else None
        return state[1:] if call.result in (first, UNKNOWN) else REFUSED


def test_a_get_without_an_answer_may_have_taken_something_away() -> None:
    calls = [
        Call(process="a", action="put", argument=1, start=0, end=1),
        Call(process="a", action="put", argument=2, start=2, end=3),
        Call(process="b", action="get", result=UNKNOWN, start=4, end=None),
        Call(process="c", action="get", result=2, start=5, end=6),
    ]
    assert check(calls, Queue()) is None
    assert check([call for call in calls if call.end is not None], Queue()) is not None


@pytest.mark.parametrize(("error", "linearizable"), [("", False), (", :error :connection-refused", True)])
def test_a_cas_that_failed_with_an_error_did_not_happen(error: str, linearizable: bool) -> None:
    text = f"""{{:process 0, :type :invoke, :f :cas, :value [nil 1]}}
{{:process 0, :type :fail, :f :cas, :value [nil 1]{error}}}
"""
    assert (check(read_history(text), Register()) is None) == linearizable


def test_the_command_tells_its_verdict_by_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "history.edn"

    def outcome(*lines: str) -> tuple[int, str]:
        file.write_text("\n".join(lines))
        found = CliRunner().invoke(rube, ["check-history", str(file)])
        return found.exit_code, found.output

    read = "{:process 0, :type :invoke, :f :read, :value nil}"
    assert outcome(read, "{:process 0, :type :ok, :f :read, :value nil}") == (0, "linearizable: 1 call of 1 key\n")
    assert outcome(read, "{:process 0, :type :ok, :f :read, :value 7}")[0] == 1
    assert outcome(*(f"{{:process 0, :type {kind}, :f :cas, :value 7}}" for kind in (":invoke", ":ok")))[0] == 2
    monkeypatch.setattr("rube.sim.linearizability.check", Mock(side_effect=TimeoutError("no verdict on 1 of 1 keys")))
    assert outcome(read) == (3, "rube: no verdict on 1 of 1 keys\n")
