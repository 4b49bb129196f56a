"""Models: what one call does to the state of a sequential object."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Protocol

from rube.sim.linearizability.history import UNKNOWN, Call


class Refused:
    """The type of REFUSED."""


REFUSED: Final = Refused()
"""A model's answer where the call cannot have had its result in that state."""


class Model(Protocol):
    """A sequential object, for each key. States are immutable and hashable; the checker takes equal ones for one."""

    def initial(self) -> Hashable:
        """Returns the state before the first call."""
        ...

    def step(self, state: Hashable, call: Call) -> Hashable | Refused:
        """Returns the state after the call; REFUSED if its result can't be. The result may be UNKNOWN."""
        ...


class Register:
    """A register: `read`, `write` of a value, and `cas` of (expected, new), whose result is whether it was set."""

    def __init__(self, initial: Hashable = None) -> None:
        self._initial = initial

    def initial(self) -> Hashable:
        return self._initial

    def step(self, state: Hashable, call: Call) -> Hashable | Refused:
        match call.action:
            case "read":
                return state if call.result in (state, UNKNOWN) else REFUSED
            case "write":
                return call.argument
            case "cas":
                if not isinstance(call.argument, tuple) or len(call.argument) != 2:
                    raise ValueError(f"{call}: the argument of a cas is (expected, new)")
                expected, new = call.argument
                holds = state == expected
                if call.result is not UNKNOWN and call.result != holds:
                    return REFUSED
                return new if holds else state
        raise ValueError(f"a register has no {call.action!r}: it has read, write and cas")


class KeyValue:
    """A value of text under each key: `get`, `put`, and `append` to what is there. A key begins as ""."""

    def initial(self) -> str:
        return ""

    def step(self, state: Hashable, call: Call) -> Hashable | Refused:
        match call.action:
            case "get":
                return state if call.result in (state, UNKNOWN) else REFUSED
            case "put":
                return call.argument
            case "append":
                return f"{state}{call.argument}"
        raise ValueError(f"a key-value map has no {call.action!r}: it has get, put and append")
