"""The search for an order: Wing and Gong's algorithm with Lowe's memory of configurations (G. Lowe, "Testing for
linearizability", 2016), split by key as in porcupine.

A configuration is the set of calls that are in the order so far, and the state after them. The search appends calls
that have begun before the first answer that is still missing. It goes back where an answer can't be explained, and
never tries a configuration twice. A call without an answer may come at any place, or be left out: the search ends once
all answers are explained, and one that would change nothing is left out. Of those that would do the same, the one that
began first comes first: it may stand wherever another one may.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rube.sim.linearizability.history import UNKNOWN, Call
from rube.sim.linearizability.models import Model, Refused

CONFIGURATIONS_EACH = 1000
"""The keys take turns of so many configurations: one that is wrong is found though another takes long."""
CONFIGURATIONS_MAX = 2_000_000
"""The search gives up after so many, which take a few hundred MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """The proof that a history is not linearizable, for the key whose calls have no order."""

    key: str
    call: Call
    """The earliest answer that no order explains."""
    order: tuple[Call, ...]
    """An order of calls that explains all answers before it."""
    state: Hashable
    """The state after that order."""
    open: tuple[Call, ...]
    """The calls that overlap it and are not in the order: none of them, before it, helps either."""

    def __str__(self) -> str:
        lines = [
            f"no order of the calls explains {self.call}",
            f"  the state there may be {self.state!r}, after:",
        ]
        lines += [f"    {call}" for call in self.order[-8:]]
        if self.open:
            lines += ["  under way with it:", *(f"    {call}" for call in self.open)]
        return "\n".join(lines)


def check(calls: Iterable[Call], model: Model, *, configurations_max: int = CONFIGURATIONS_MAX) -> Violation | None:
    """Returns None if the history is linearizable, else what shows that it isn't.

    Raises ValueError for a call that its model doesn't know or that ends before it starts, and TimeoutError when the
    search has tried `configurations_max` without a verdict.
    """
    of_key: dict[str, list[Call]] = {}
    for call in calls:
        if call.end is not None and call.end < call.start:
            raise ValueError(f"{call} ends before it starts")
        of_key.setdefault(call.key, []).append(call)
    searches = [_Search(key, of_key[key], model).run() for key in sorted(of_key)]
    tried = 0
    while searches:
        for search in list(searches):
            verdict = _turn(search)
            if isinstance(verdict, Violation):
                return verdict
            if verdict is None:
                searches.remove(search)
            else:
                tried += CONFIGURATIONS_EACH
        if tried > configurations_max:
            keys = f"{len(searches)} of {len(of_key)} keys"
            raise TimeoutError(
                f"no verdict on {keys} after {tried:,} configurations: record fewer calls at a time or more keys"
            )
    return None


def _turn(search: Iterator[Violation | None]) -> Violation | bool | None:
    """A turn of a search: its violation, None at its end, or True if there is more to do."""
    for found in search:
        return True if found is None else found
    return None


class _Event:
    """The start or the answer of a call, in a list of all that are not in the order yet."""

    __slots__ = ("after", "answer", "before", "bit", "call", "next")

    def __init__(self, call: Call, bit: int, answer: _Event | None, after: int = 0) -> None:
        self.call = call
        self.bit = bit
        self.after = after
        """The bit of the call that comes before it in any order that is tried, or 0."""
        self.answer = answer
        """Of a start: its answer, if there is one. Of an answer: None."""
        self.before: _Event = self
        self.next: _Event | None = None

    def take(self) -> None:
        """Takes a start out of the list, with its answer."""
        for event in (self, self.answer):
            if event is not None:
                event.before.next = event.next
                if event.next is not None:
                    event.next.before = event.before

    def put_back(self) -> None:
        """Puts both back where they were. Those that were taken out later are back already."""
        for event in (self.answer, self):
            if event is not None:
                event.before.next = event
                if event.next is not None:
                    event.next.before = event


class _Search:
    def __init__(self, key: str, calls: Sequence[Call], model: Model) -> None:
        self._key = key
        self._model = model
        self._head, self._answers = _linked(calls)

    def run(self) -> Iterator[Violation | None]:
        """Yields None after each turn's configurations, and the violation if there is one."""
        step, head = self._model.step, self._head
        state, taken, missing = self._model.initial(), 0, self._answers
        tried: set[tuple[int, Hashable]] = set()
        order: list[tuple[_Event, Hashable]] = []
        furthest = _Furthest()
        event = head.next
        while missing:
            assert event is not None  # while an answer is missing, it is in the list
            if event.bit:
                if event.after & ~taken:
                    event = event.next
                    continue
                after = step(state, event.call)
                configuration = (taken | event.bit, after)
                is_idle = event.answer is None and after == state
                if isinstance(after, Refused) or is_idle or configuration in tried:
                    event = event.next
                    continue
                tried.add(configuration)
                if len(tried) % CONFIGURATIONS_EACH == 0:
                    yield None
                order.append((event, state))
                state, taken = after, configuration[0]
                missing -= event.answer is not None
                event.take()
                event = head.next
                continue
            furthest.note(event, order, state)
            if not order:
                yield furthest.violation(self._key, head)
                return
            event, state = order.pop()
            taken ^= event.bit
            missing += event.answer is not None
            event.put_back()
            event = event.next


class _Furthest:
    """The latest answer at which the search got stuck, and how it came there."""

    def __init__(self) -> None:
        self._answer: _Event | None = None
        self._order: tuple[Call, ...] = ()
        self._state: Hashable = None

    def note(self, answer: _Event, order: list[tuple[_Event, Hashable]], state: Hashable) -> None:
        assert answer.call.end is not None
        if self._answer is None or answer.call.end > (self._answer.call.end or 0):
            self._answer, self._state = answer, state
            self._order = tuple(event.call for event, _ in order)

    def violation(self, key: str, head: _Event) -> Violation:
        """With the whole list as it was in the beginning."""
        assert self._answer is not None
        wrong, end = self._answer.call, self._answer.call.end
        assert end is not None
        done = set(map(id, self._order))
        under_way, event = list[Call](), head.next
        while event is not None:
            call = event.call
            if event.bit and call is not wrong and id(call) not in done and call.start <= end:
                under_way.append(call)
            event = event.next
        return Violation(key=key, call=wrong, order=self._order, state=self._state, open=tuple(under_way))


def _linked(calls: Sequence[Call]) -> tuple[_Event, int]:
    """The head of the list of events in the order of their times, and how many answers it has.

    A start goes before an answer of the same time: the two calls overlap.
    """
    timed: list[tuple[int, int, int, _Event]] = []
    alike: dict[tuple[str, Hashable], int] = {}
    for number, call in enumerate(sorted(calls, key=lambda call: call.start)):
        answer, after, bit = None, 0, 1 << number
        if call.end is None or call.result is UNKNOWN:
            after = alike.get((call.action, call.argument), 0)
            alike[call.action, call.argument] = bit
        else:
            answer = _Event(call, 0, None)
            timed.append((call.end, 1, number, answer))
        timed.append((call.start, 0, number, _Event(call, bit, answer, after)))
    timed.sort(key=lambda item: item[:3])
    head = _Event(Call(process="", action="", start=0, end=None), 0, None)
    last = head
    for *_, event in timed:
        last.next, event.before = event, last
        last = event
    return head, sum(answer for _, answer, _, _ in timed)
