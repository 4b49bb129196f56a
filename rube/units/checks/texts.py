"""Every text of a Unit, wherever it stands: characters, length, blanks, specifiers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from google.protobuf.message import Message

from rube.api.types.violation import Violation
from rube.units.service.specifiers import LETTERS, specifiers_in
from rube.units.values import BLANKS, LINE_BYTES_MAX, environment_problem, line_problem, title_problem

ITEMS_MAX = 1_000
"""The most items in one list or map."""
KEY_BYTES_MAX = 64
"""The most bytes before the value in its line."""
_SHORT_CHARS_MAX: Final = (LINE_BYTES_MAX - KEY_BYTES_MAX) // 4
_COMMENT: Final = "service.title"
_ENVIRONMENT: Final = "service.environment"
_WITHOUT_SPECIFIERS: Final = frozenset(
    {_COMMENT, "service.umask", "service.protect_system", "service.kill.signal", "condition.type"}
    | {f"service.status.{each}_signal" for each in ("success", "prevent_restart", "force_restart")}
)
_EXEC: Final = "service.exec."
# What the names of lists begin with whose items may hold blanks. `commands` looks at the specifiers of each word.
_WITH_BLANKS: Final = ("service.environment_file", _EXEC)


def text_violations(unit: Message) -> Iterator[Violation]:
    """Yields errors in the characters and the size of any field of the message, and of those in it."""
    return _of_message("", unit)


def unknown_specifier(text: str) -> str:
    """Returns the unknown specifier in the text, as the end of a sentence; empty if there is none."""
    for letter in specifiers_in(text):
        if letter not in LETTERS:
            return f"holds %{letter}, which is no specifier of systemd.unit(5): write %%{letter} for the text itself"
    return ""


def _of_message(path: str, message: Message) -> Iterator[Violation]:
    for field, value in message.ListFields():
        name = f"{path}.{field.name}" if path else field.name
        if isinstance(value, str):
            yield from _of_text(name, name, value)
        elif isinstance(value, Message):
            yield from _of_message(name, value)
        elif isinstance(value, Mapping):
            yield from _of_map(name, value)
        elif isinstance(value, Sequence) and not isinstance(value, bytes):
            yield from _of_list(name, value)


def _of_list(name: str, items: Sequence[object]) -> Iterator[Violation]:
    if len(items) > ITEMS_MAX:
        yield Violation(name, f"has {len(items)} items, more than {ITEMS_MAX}: use fewer")
        return
    for index, item in enumerate(items):
        place = f"{name}[{index}]"
        if isinstance(item, Message):
            for violation in _of_message(name, item):
                yield Violation(violation.field.replace(name, place, 1), violation.text)
        elif isinstance(item, str):
            yield from _of_item(place, name, item)


def _of_item(place: str, name: str, item: str) -> Iterator[Violation]:
    stripped = item.strip(BLANKS)
    if not stripped:
        yield Violation(place, "is empty, which would reset the list: leave it out")
    elif not name.startswith(_WITH_BLANKS) and any(blank in stripped for blank in BLANKS):
        yield Violation(place, f"{_short(item)} holds a blank: write one item a field")
    else:
        yield from _of_text(place, name, item)


def _of_map(name: str, items: Mapping[object, object]) -> Iterator[Violation]:
    if len(items) > ITEMS_MAX:
        yield Violation(name, f"has {len(items)} entries, more than {ITEMS_MAX}: use fewer")
        return
    for key, value in sorted(items.items(), key=str):
        yield from _of_text(f"{name}[{key!r}]", name, str(value))


def _of_text(place: str, name: str, value: str) -> Iterator[Violation]:
    problems: Iterable[str]
    if name == _COMMENT:
        problems = (title_problem(value),)
    elif name == _ENVIRONMENT:
        problems = (environment_problem(value), unknown_specifier(value))
    elif name in _WITHOUT_SPECIFIERS or name.startswith(_EXEC):
        problems = (line_problem(value),)
    else:
        problems = (line_problem(value), unknown_specifier(value))
    if len(value) > _SHORT_CHARS_MAX and (size := _longest_line_bytes(name, value)) > LINE_BYTES_MAX - KEY_BYTES_MAX:
        problems = (
            *problems,
            f"has {size} bytes: systemd reads lines of less than {LINE_BYTES_MAX - KEY_BYTES_MAX}, make it shorter",
        )
    yield from (Violation(place, problem) for problem in problems if problem)


def _longest_line_bytes(name: str, value: str) -> int:
    lines = value.split("\n") if name == _COMMENT else (value,)
    return max(len(line.encode("utf-8", "surrogatepass")) for line in lines)


def _short(text: str, letters_max: int = 60) -> str:
    return repr(text if len(text) <= letters_max else f"{text[:letters_max]}…")
