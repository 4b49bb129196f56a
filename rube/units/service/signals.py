"""Signals by name and number, as systemd takes and writes them (src/basic/signal-util.c). Pure."""

from __future__ import annotations

import signal
from typing import Final

# Names that systemd doesn't know for signals that it does.
_ALIASES: Final = frozenset({"SIGCLD", "SIGPOLL", "SIGIOT"})
_NUMBERS: Final = {
    name.removeprefix("SIG"): int(number)
    for name, number in signal.Signals.__members__.items()
    if not name.startswith("SIGRT")
}
_NAMES: Final = {number: f"SIG{name}" for name, number in _NUMBERS.items() if f"SIG{name}" not in _ALIASES}
_MIN, _MAX = int(signal.SIGRTMIN), int(signal.SIGRTMAX)


def signal_number(name: str) -> int:
    """Returns the number of `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3` or `RTMAX-2`. Raises ValueError."""
    if name.isascii() and name.isdigit() and 0 < int(name) <= _MAX:
        number = int(name)
        if number in _NAMES or number >= _MIN:
            return number
    plain = name.removeprefix("SIG")
    if plain in _NUMBERS:
        return _NUMBERS[plain]
    for start, sign in ((_MIN, "RTMIN+"), (_MAX, "RTMAX-")):
        digits = plain.removeprefix(sign) if plain.startswith(sign) else "0" if plain == sign[:-1] else ""
        if digits.isascii() and digits.isdigit() and int(digits) <= _MAX - _MIN:
            return start + int(digits) if start == _MIN else start - int(digits)
    raise ValueError(f"{name!r} is no signal: use a name such as SIGTERM")


def signal_name(number: int) -> str:
    """Returns such as `SIGTERM`, or `SIGRTMIN+3`."""
    return _NAMES.get(number) or f"SIGRTMIN+{number - _MIN}"
