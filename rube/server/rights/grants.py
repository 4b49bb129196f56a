"""Grants: one rule of a role as a binding gives it to callers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rube.api import Rule, selectors
from rube.api.selectors import LabelSelector
from rube.api.well_known import EVERY_TYPE
from rube.server.rights.conditions import Ask, Condition

READ_VERBS: Final = ("get", "list", "watch", "history", "logs")
CREATING_VERBS: Final = ("put", "apply")
"""The writes whose object may be absent."""
AUDIT_VERB: Final = "audit"
"""Reads the audit log, where a rule gives it for every type."""
VERBS: Final = (
    *READ_VERBS,
    *CREATING_VERBS,
    "patch",
    "delete",
    "update_status",
    "update_lifecycle",
    "renew",
    AUDIT_VERB,
)
EVERY_VERB: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grant:
    """A rule, ready to be asked. `source` names it for people."""

    source: str
    verbs: frozenset[str]
    types: tuple[str, ...]
    namespaces: frozenset[str] | None
    """None: all of them, and outside of them."""
    names: tuple[str, ...]
    selector: LabelSelector
    condition: Condition | None
    plain: bool
    """It depends on the key of an object alone."""

    @classmethod
    def of(cls, rule: Rule, source: str, namespaces: frozenset[str] | None) -> Grant:
        """Returns the grant of a rule whose binding narrows it to these namespaces. Raises InvalidArgumentError."""
        own = frozenset(rule.namespaces) if rule.namespaces else None
        if own is not None and namespaces is not None:
            own &= namespaces
        selector = selectors.parse(rule.label_selector)
        return cls(
            source=source,
            verbs=frozenset(VERBS) if EVERY_VERB in rule.verbs else frozenset(rule.verbs),
            types=tuple(rule.types),
            namespaces=namespaces if own is None else own,
            names=tuple(rule.names),
            selector=selector,
            condition=Condition(rule.condition, tuple(rule.types)) if rule.condition else None,
            plain=not rule.condition and not selector.requirements,
        )

    def of_type(self, type_name: str) -> bool:
        return any(fits(pattern, type_name) for pattern in self.types)

    def at(self, namespace: str, name: str) -> bool:
        """Returns whether it is about objects of that key; without a name: of any name."""
        if self.namespaces is not None and namespace not in self.namespaces:
            return False
        return not self.names or not name or any(fits(pattern, name) for pattern in self.names)

    def allows(self, ask: Ask, old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> bool:
        """Returns whether the labels, as far as there are any, and the condition allow it."""
        if self.selector.requirements and not all(
            self.selector.matches(labels) for labels in (old, new) if labels is not None
        ):
            return False
        return self.condition is None or self.condition.holds(ask)


def fits(pattern: str, text: str) -> bool:
    """Returns whether a text is what a pattern says, or begins with what the pattern has before a final `*`."""
    return text == pattern or (pattern.endswith(EVERY_TYPE) and text.startswith(pattern[:-1]))
