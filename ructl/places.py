"""Objects as people name them: `indexer`, `system/indexer`, or with the type, as `-o name` prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from rube.api.errors import InvalidArgumentError
from rube.api.spelling import suggestion
from rube.api.types import BUILTIN
from ructl.cluster_types import TYPES

_EXAMPLE_TYPE: Final = "Unit"


class Places(NamedTuple):
    """The type, namespace and names in a command's names; None if they have none."""

    type_name: str | None
    namespace: str | None
    names: tuple[str, ...]


def parse_places(type_name: str | None, namespace: str | None, names: Sequence[str]) -> Places:
    """Takes the type and the namespace out of names. Raises InvalidArgumentError where they contradict each other."""
    plain = []
    for place in names:
        before, _, name = place.rpartition("/")
        first, slash, rest = before.partition("/")
        if "." in first:  # no namespace has a dot
            type_name = _agreed("type", type_name and full_type_name(type_name), full_type_name(first), place)
            before = rest
        elif not slash and type_name and not TYPES.kind(full_type_name(type_name)).namespaced:
            before = "" if type_of_word(first) == full_type_name(type_name) else before
        if "/" in before:
            name = place
        elif before:
            namespace = _agreed("namespace", namespace, before, place)
        plain.append(name)
    return Places(type_name, namespace, tuple(plain))


def _agreed(what: str, known: str | None, found: str, place: str) -> str:
    if known not in (None, found):
        raise InvalidArgumentError(f"{place!r} is of {what} {found!r}, and not of {known!r}: one {what} at a time")
    return found


def full_type_name(name: str) -> str:
    """`Unit`, in any case, is api.systemd.Unit. Raises InvalidArgumentError for what no type is called."""
    if "." in name:
        return TYPES.kind(name).name
    by_short_name = _by_short_name()
    if name.lower() not in by_short_name and TYPES.load():
        by_short_name = _by_short_name()
    if len(named := [full for full, words in TYPES.words().items() if name.lower() in words]) > 1:
        builtin = [found for found in named if BUILTIN.get(found) is not None]
        if len(builtin) != 1:
            raise InvalidArgumentError(
                f"{name!r} is the name of {' and of '.join(named)}: write the full name", field="type"
            )
        return builtin[0]
    if name.lower() not in by_short_name:
        near = suggestion(name, short_names())
        raise InvalidArgumentError(f"{name!r} is not a type of object; {near}{TYPES.why_unknown()}", field="type")
    return by_short_name[name.lower()]


def type_of_word(word: str) -> str:
    """The type that a word means where people put it among names: `Unit`, `units`, `api.Node`; empty: none."""
    if "." in word:
        return word if TYPES.get(word) is not None else ""
    by_short_name = _by_short_name()
    return by_short_name.get(word.lower()) or by_short_name.get(word.lower().removesuffix("s"), "")


def short_names() -> list[str]:
    return [short_name(name) for name in TYPES.words()]


def short_name(type_name: str) -> str:
    return type_name.rpartition(".")[2]


def lack_of_type(command: str, names: Sequence[str]) -> str:
    """Returns the error for a missing type: `command` with what was probably meant; `names` are without it."""
    if not names:
        return f"no type: give one with -t ({', '.join(sorted(short_names()))}), such as '{command} -t {_EXAMPLE_TYPE}'"
    first, slash, rest = names[0].partition("/")
    found, meant = type_of_word(first), list(names)
    if found:
        meant[:1] = [rest] if slash else []
    words = ["-t", short_name(found) if found else _EXAMPLE_TYPE, *meant]
    return f"no type: did you mean '{command} {' '.join(words)}'?"


def hint_of_type_word(name: str) -> str:
    """The remedy where nothing is called `name`, and a type is."""
    return f"; if {name!r} is the type that you mean, leave it out" if type_of_word(name) else ""


def _by_short_name() -> dict[str, str]:
    return {word: name for name, words in reversed(TYPES.words().items()) for word in words}
