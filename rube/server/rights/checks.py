"""The judgement of roles and bindings when they are put: what could never work is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from rube.api import Binding, Role, Rule, selectors
from rube.api.errors import InvalidArgumentError
from rube.api.keys import is_name
from rube.api.spelling import quoted, suggestion
from rube.api.types import BUILTIN
from rube.api.types.violation import Violation
from rube.api.well_known import BINDING_TYPE, EVERY_TYPE, ROLE_TYPE
from rube.server.rights.conditions import Condition
from rube.server.rights.grants import EVERY_VERB, VERBS
from rube.server.rights.subjects import ANONYMOUS, KINDS

RULES_MAX: Final = 100
"""Rules of one role, subjects of one binding, and values of one field of a rule."""
_PACKAGES: Final = frozenset(kind.name.partition(".")[0] for kind in BUILTIN.kinds())


def role_violations(spec: bytes) -> list[Violation]:
    """Returns the errors of a serialized auth.Role."""
    role = Role.FromString(spec)
    if len(role.rules) > RULES_MAX:
        return [Violation("rules", f"are {len(role.rules)}, more than {RULES_MAX}: make several roles")]
    return [each for index, rule in enumerate(role.rules) for each in _of_rule(f"rules[{index}]", rule)]


def binding_violations(spec: bytes) -> list[Violation]:
    """Returns the errors of a serialized auth.Binding. The role may not exist yet: until it does, it allows nothing."""
    binding = Binding.FromString(spec)
    found = list(_of_names("namespaces", binding.namespaces))
    if not binding.role:
        found.append(Violation("role", "is empty: name a role, such as admin or read-only"))
    elif not is_name(binding.role):
        found.append(Violation("role", f"is {quoted(binding.role)}, which is no name of a role"))
    if not binding.subjects:
        found.append(Violation("subjects", "are none: name callers, such as user/ada or group/developers"))
    for index, subject in enumerate(binding.subjects[:RULES_MAX]):
        kind, slash, name = subject.partition("/")
        known = (*KINDS, "group")
        if subject != ANONYMOUS and not (slash and name and kind in known):
            near = "" if kind in known else f"; {suggestion(kind, known)}"
            text = f"is {quoted(subject)}: write {ANONYMOUS}, user/NAME, group/NAME, node/NAME or controller/NAME{near}"
            found.append(Violation(f"subjects[{index}]", text))
    if len(binding.subjects) > RULES_MAX:
        found.append(Violation("subjects", f"are {len(binding.subjects)}, more than {RULES_MAX}: bind a group"))
    return found


RIGHTS_CHECKS: Final[Mapping[str, Callable[[bytes], Sequence[Violation]]]] = {
    ROLE_TYPE: role_violations,
    BINDING_TYPE: binding_violations,
}


def _of_rule(where: str, rule: Rule) -> Iterator[Violation]:
    for name in ("verbs", "types"):
        if not getattr(rule, name):
            yield Violation(f"{where}.{name}", "are none, so that the rule allows nothing: name some, or '*'")
    for name in ("verbs", "types", "namespaces", "names"):
        if len(getattr(rule, name)) > RULES_MAX:
            yield Violation(f"{where}.{name}", f"are more than {RULES_MAX}")
            return
    for index, verb in enumerate(rule.verbs):
        if verb not in VERBS and verb != EVERY_VERB:
            near = suggestion(verb, VERBS)
            yield Violation(f"{where}.verbs[{index}]", f"is {quoted(verb)}, which is no verb; {near}")
    for index, name in enumerate(rule.types):
        if error := _of_type(name):
            yield Violation(f"{where}.types[{index}]", error)
    yield from _of_names(f"{where}.namespaces", rule.namespaces)
    try:
        selectors.parse(rule.label_selector)
    except InvalidArgumentError as error:
        yield Violation(f"{where}.label_selector", error.message)
    if rule.condition:
        yield from _of_condition(f"{where}.condition", rule)


def _of_type(name: str) -> str:
    """Returns what is wrong with a type of a rule. A type of others may be pushed later."""
    stem = name.removesuffix(EVERY_TYPE)
    if name == EVERY_TYPE or (stem != name and stem.endswith(".")):
        return ""
    if EVERY_TYPE in name:
        return f"is {quoted(name)}: write a full name, a package such as acme.*, or '*'"
    if name.partition(".")[0] in _PACKAGES and BUILTIN.get(name) is None:
        return f"is {quoted(name)}, which is no type; {suggestion(name, [kind.name for kind in BUILTIN.kinds()])}"
    return "" if "." in name else f"is {quoted(name)}: write its full name, such as api.systemd.Unit"


def _of_names(where: str, names: Sequence[str]) -> Iterator[Violation]:
    for index, name in enumerate(names):
        if not is_name(name):
            yield Violation(f"{where}[{index}]", f"is {quoted(name)}, which is no namespace")


def _of_condition(where: str, rule: Rule) -> Iterator[Violation]:
    condition = Condition(rule.condition, tuple(rule.types))
    kinds = {name: BUILTIN.get(name) for name in rule.types}
    for name, kind in kinds.items():
        if kind is None and EVERY_TYPE not in name:
            continue  # a pushed type, whose fields this check does not know
        try:
            condition.check(kind)
        except InvalidArgumentError as error:
            yield Violation(where, f"{error.message.removeprefix('the condition ')} (of {name})")
            return
