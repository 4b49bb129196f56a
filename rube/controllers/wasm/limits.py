"""The limits of a module, and what exceeds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from rube.api.errors import InvalidArgumentError
from rube.api.spelling import suggestion

MIB: Final = 1024 * 1024
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "fuel": (1_000_000, 1_000_000_000_000),
    "memory_mib": (1, 4096),
    "message_mib": (1, 256),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one call of a module."""

    fuel: int = 500_000_000
    """Wasmtime's units of work: about one for each instruction, and the host's work in the same coin. The default is
    some 0.1 s of instructions, and at most 1 s where the host does all of it."""
    memory_mib: int = 128
    """The memory of an instance."""
    message_mib: int = 16
    """A State or a Decision."""


class LimitExceededError(Exception):
    """A call of a module exceeded a limit; `reason` is it in one word for programs."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def limits_from(options: Mapping[str, str]) -> Limits:
    """Returns the limits in `backups.wasm?fuel=…&memory_mib=…`. Raises InvalidArgumentError that names the option."""
    known = [field.name for field in fields(Limits)]
    values = {}
    for name, text in options.items():
        if name not in known:
            raise InvalidArgumentError(f"a module has no limit {name!r}; {suggestion(name, known)}", field=name)
        least, most = _RANGES[name]
        if not (text.isascii() and text.isdecimal() and len(text) < 16 and least <= int(text) <= most):
            raise InvalidArgumentError(f"{name}={text}: write a number from {least} to {most}", field=name)
        values[name] = int(text)
    return Limits(**values)
