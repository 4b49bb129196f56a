"""The state that the group agrees on: the rows of its controllers, and the number of the newest term."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from sortedcontainers import SortedDict

from rube.api.errors import AbortedError
from rube.controllers.replicated.replicated_pb2 import Change, Command, Commit, Lead
from rube.group.machine import Effect
from rube.host import Engine, Write

# The range of all rows in the member's engine.
_START, _END = b"controllers/", b"controllers0"
_ROWS = b"controllers/rows/"
_TERM_KEY = b"controllers/term"


def lead_command(above: int) -> bytes:
    """Returns the command that begins a term; its outcome is the term's number, greater than `above` and than every
    earlier one."""
    return _bytes(Command(lead=Lead(above=above)))


def commit_command(term: int, batch: Sequence[Write]) -> bytes:
    """Returns the command that writes rows; its outcome is AbortedError, and nothing is written, unless the term is the
    newest."""
    return _bytes(Command(commit=Commit(term=term, changes=[Change(key=key, value=value) for key, value in batch])))


def _bytes(command: Command) -> bytes:
    return command.SerializeToString(deterministic=True)


class Rows:
    """A `rube.group.StateMachine`: this member's copy, in memory, of its engine's rows and of those about to be
    written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rows: SortedDict[bytes, bytes] = SortedDict()
        self.term = 0
        """The newest that has begun."""
        self.on_term: Callable[[], None] = lambda: None
        """Called when a term has begun."""

    # Reading

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._rows.get(key)
        return value

    def scan(self, start: bytes, end: bytes, *, limit: int = 0, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Implements `rube.host.EngineView.scan`."""
        keys = self._rows.irange(start, end, inclusive=(True, False), reverse=reverse) if start < end else iter(())
        return iter([(key, self._rows[key]) for key in (islice(keys, limit) if limit else keys)])

    # For the member

    @property
    def ranges(self) -> Sequence[tuple[bytes, bytes]]:
        return ((_START, _END),)

    def apply(self, command: bytes) -> Effect:
        told = Command.FromString(command)
        if told.HasField("lead"):
            return self._begin_term(max(self.term, told.lead.above) + 1)
        if told.commit.term != self.term:
            error = AbortedError(
                f"term {told.commit.term} of these controllers is over: term {self.term} has begun", term=self.term
            )
            return Effect(error, ())
        return Effect(None, [self._change(change) for change in told.commit.changes])

    def durable(self, writes: int) -> None: ...

    def suspend(self) -> None: ...

    async def reload(self, group_id: str) -> None:
        stored = dict(self._engine.scan(_START, _END))
        self.term = int(stored.pop(_TERM_KEY, b"0"))
        self._rows = SortedDict({key.removeprefix(_ROWS): value for key, value in stored.items()})

    # Inside

    def _begin_term(self, term: int) -> Effect:
        self.term = term
        self.on_term()
        return Effect(term, [Write(_TERM_KEY, b"%d" % term)])

    def _change(self, change: Change) -> Write:
        value = change.value if change.HasField("value") else None
        if value is None:
            self._rows.pop(change.key, None)
        else:
            self._rows[change.key] = value
        return Write(_ROWS + change.key, value)
