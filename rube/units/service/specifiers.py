"""Specifiers: `%n` and its like (systemd.unit(5), "SPECIFIERS"). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

LETTERS: Final = frozenset("aAbBcCdEfgGhHiIjJlLmMnNoPpqrRsStTuUvVwWyY")
"""Those that systemd 252 knows in a unit. Another letter or digit after `%` makes it refuse the line."""
_SPECIFIER: Final = re.compile(r"%([A-Za-z0-9%])")
_ESCAPED: Final = re.compile(r"\\x([0-9a-fA-F]{2})")


def specifiers_in(text: str) -> list[str]:
    """Returns the letters and digits that follow a `%` outside of `%%`, in their order."""
    return [letter for letter in _SPECIFIER.findall(text) if letter != "%"]


def replace_specifiers(text: str, values: Mapping[str, str]) -> str:
    """`%%` becomes `%`, and what `values` holds is replaced; everything else stays as it is."""
    return _SPECIFIER.sub(lambda found: "%" if found[1] == "%" else values.get(found[1], found[0]), text)


def specifiers_of_name(unit: str) -> dict[str, str]:
    """Returns the specifiers that follow from the unit's name, such as `rube-system.indexer.service`."""
    stem = unit.rpartition(".")[0]
    prefix, _, instance = stem.partition("@")
    last = prefix.rpartition("-")[2]
    return {
        "n": unit,
        "N": stem,
        "p": prefix,
        "P": _unescape(prefix),
        "i": instance,
        "I": _unescape(instance),
        "j": last,
        "J": _unescape(last),
        "f": f"/{_unescape(instance or prefix)}",
    }


def _unescape(name: str) -> str:
    r"""Returns a name's part as a path: `-` becomes `/`, `\x2d` becomes `-` (systemd-escape(1))."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), name.replace("-", "/"))
