"""Label selectors in Kubernetes' syntax, and the rules for labels.

`node=worker-1,tier!=test,zone in (a,b),rack notin (r1,r2),owner,!paused`: every requirement must hold. As in
Kubernetes, `!=` and `notin` also hold if the label is absent.
https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from rube.api.errors import InvalidArgumentError
from rube.api.spelling import quoted

REQUIREMENTS_MAX: Final = 64
TEXT_CHARS_MAX: Final = 16_384
LABELS_REMEMBERED_MAX: Final = 4096
_WORD = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY: Final = re.compile(rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_WORD}\Z")
_VALUE: Final = re.compile(rf"(?:{_WORD})?\Z")
_TOKEN: Final = re.compile(r"\s*(==|!=|[=!(),]|[^\s=!(),]+)")


class Operator(Enum):
    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    ABSENT = "absent"


class Requirement(NamedTuple):
    """One condition on one label; `values` is sorted, and empty for EXISTS and ABSENT."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case Operator.IN:
                return self.key in labels and labels[self.key] in self.values
            case Operator.NOT_IN:
                return self.key not in labels or labels[self.key] not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.ABSENT:
                return self.key not in labels

    def __str__(self) -> str:
        match self.operator:
            case Operator.IN | Operator.NOT_IN if len(self.values) == 1:
                return f"{self.key}{'=' if self.operator is Operator.IN else '!='}{self.values[0]}"
            case Operator.IN | Operator.NOT_IN:
                return f"{self.key} {self.operator.value} ({','.join(self.values)})"
            case Operator.EXISTS:
                return self.key
            case Operator.ABSENT:
                return f"!{self.key}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Requirements that all must hold; without any, everything matches. `str()` is canonical and parses back."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)

    @classmethod
    def of_labels(cls, labels: Mapping[str, str]) -> LabelSelector:
        """Returns a selector for objects that have all of these labels."""
        return cls(tuple(Requirement(key, Operator.IN, (labels[key],)) for key in sorted(labels)))


EVERYTHING: Final = LabelSelector()


def parse(text: str) -> LabelSelector:
    """Parses a selector; empty text matches everything. Raises InvalidArgumentError that names the place."""
    if len(text) > TEXT_CHARS_MAX:
        raise InvalidArgumentError(
            f"the label selector has {len(text)} characters, more than {TEXT_CHARS_MAX}: ask for less at a time",
            field="label_selector",
        )
    return _Parser(text).selector()


def validate_labels(labels: Mapping[str, str]) -> None:
    """Raises InvalidArgumentError for a label that a selector could not name."""
    if all(_is_label(key, value) for key, value in labels.items()):
        return
    for key in sorted(labels):
        if not _KEY.match(key):
            raise InvalidArgumentError(f"label key {key!r} is not valid: {_KEY_RULE}", field="metadata.labels")
        if not _VALUE.match(labels[key]):
            raise InvalidArgumentError(
                f"label {key!r} has the invalid value {labels[key]!r}: {_VALUE_RULE}", field="metadata.labels"
            )


def validate_finalizer(field: str, name: str) -> None:
    """Raises InvalidArgumentError unless a finalizer can have that name: what the key of a label can be."""
    if not _KEY.match(name):
        raise InvalidArgumentError(f"finalizer {quoted(name)} is not valid: {_KEY_RULE}", field=field)


@lru_cache(maxsize=LABELS_REMEMBERED_MAX)
def _is_label(key: str, value: str) -> bool:
    """Returns whether the label is valid. Objects share most of their labels: the answer is cached for the others."""
    return bool(_KEY.match(key) and _VALUE.match(value))


_VALUE_RULE: Final = "use up to 63 of letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
_KEY_RULE: Final = f"{_VALUE_RULE}; a DNS name and '/' may precede it"


class _Parser:
    """Splits into tokens and reads one requirement after the other."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, int]] = [(found[1], found.start(1)) for found in _TOKEN.finditer(text)]
        self._next = 0

    def selector(self) -> LabelSelector:
        requirements: set[Requirement] = set()
        while self._peek():
            requirements.add(self._requirement())
            if len(requirements) > REQUIREMENTS_MAX:
                raise self._error(f"more than {REQUIREMENTS_MAX} requirements")
            if self._peek() and self._take() != ",":
                self._next -= 1
                raise self._error("expected ','")
        return LabelSelector(tuple(sorted(requirements, key=str)))

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._take()
            return Requirement(self._key(), Operator.ABSENT)
        key = self._key()
        match self._peek():
            case "" | ",":
                return Requirement(key, Operator.EXISTS)
            case "=" | "==":
                self._take()
                return Requirement(key, Operator.IN, (self._value(),))
            case "!=":
                self._take()
                return Requirement(key, Operator.NOT_IN, (self._value(),))
            case "in" | "notin":
                operator = Operator(self._take())
                return Requirement(key, operator, self._values())
            case _:
                raise self._error(f"expected '=', '!=', 'in', 'notin' or ',' after {key!r}")

    def _values(self) -> tuple[str, ...]:
        if self._peek() != "(":
            raise self._error("expected '(' and a list of values")
        self._take()
        values = {self._value()}
        while self._peek() == ",":
            self._take()
            values.add(self._value())
        if self._peek() != ")":
            raise self._error("expected ',' or ')' in the list of values")
        self._take()
        return tuple(sorted(values))

    def _key(self) -> str:
        key = self._peek()
        if not _KEY.match(key):
            raise self._error("expected a label's key" if not key else f"label key is not valid: {_KEY_RULE}")
        return self._take()

    def _value(self) -> str:
        """Parses a value. An empty value is written as nothing: `a=`, `a in (x,)`."""
        if self._peek() in ("", ",", ")"):
            return ""
        if not _VALUE.match(self._peek()):
            raise self._error(f"value is not valid: {_VALUE_RULE}")
        return self._take()

    def _peek(self) -> str:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        self._next += 1
        return self._tokens[self._next - 1][0]

    def _error(self, what: str) -> InvalidArgumentError:
        found, column = self._tokens[self._next] if self._next < len(self._tokens) else ("the end", len(self._text))
        place = repr(found) if found != "the end" else found
        return InvalidArgumentError(
            f"label selector {self._text!r}, column {column + 1}, at {place}: {what}; "
            "write such as 'node=worker-1,tier!=test,zone in (a,b),owner,!paused'",
            field="label_selector",
        )
