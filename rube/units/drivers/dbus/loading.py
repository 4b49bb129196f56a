"""The reasons in words why systemd could not load a unit's definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rube.api.errors import FailedPreconditionError, RubeError
from rube.units.values import LINE_BYTES_MAX

DROP_INS_MAX = 5
"""So many are named."""
_WORDS = {
    "bad-setting": "systemd refuses the definition",
    "error": "systemd cannot read the definition",
    "masked": "the unit is masked on this machine: `systemctl unmask` it",
    "not-found": "systemd finds no unit file: is its directory one of systemd's (`systemctl show -p UnitPath`)?",
}


def refusal(name: str, unit: Mapping[str, Any], error: RubeError) -> FailedPreconditionError:
    """Returns the error for a refusal by systemd about a loaded unit, with the unit's files: systemd's own words name
    neither."""
    paths = [path for path in (unit.get("FragmentPath"), *(unit.get("DropInPaths") or ())) if path]
    long_lines = [words for path in paths if (words := _long_line(path))]
    why = "; ".join(long_lines) or f"it reads {', '.join(paths[: DROP_INS_MAX + 1])}"
    return FailedPreconditionError(f"{name}: {error.message}: {why}")


def _long_line(path: str) -> str:
    """Returns the error of a file with a line so long that systemd reads nothing of it; empty for every other file."""
    try:
        with open(path, "rb") as file:
            number, size = max(enumerate(map(len, file), 1), key=lambda each: each[1], default=(0, 0))
    except OSError:
        return ""
    if size <= LINE_BYTES_MAX:
        return ""
    return f"line {number} of {path} has {size} bytes, and systemd reads lines of at most {LINE_BYTES_MAX}: shorten it"


def load_problem(unit: Mapping[str, Any]) -> str:
    """Returns the load error in the properties of org.freedesktop.systemd1.Unit; empty for a unit that is loaded.

    systemd tells clients no more than `bad unit file setting`; its journal has the line.
    """
    state = unit["LoadState"]
    if state == "loaded":
        return ""
    _, detail = unit.get("LoadError") or ("", "")
    parts = [_WORDS.get(state, f"systemd has not loaded it ({state})")]
    if detail and state in ("bad-setting", "error"):
        parts.append(detail.rstrip("."))
    if drop_ins := list(unit.get("DropInPaths") or ()):
        more = f" and {len(drop_ins) - DROP_INS_MAX} more" if len(drop_ins) > DROP_INS_MAX else ""
        parts.append(f"also look at {', '.join(drop_ins[:DROP_INS_MAX])}{more}")
    if state in ("bad-setting", "error"):
        parts.append(f"the line is in `systemctl status {unit.get('Id', '')}` and the journal of systemd itself")
    return "; ".join(parts)
