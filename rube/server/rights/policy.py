"""All roles and bindings of a cluster at one moment, and the decisions that follow from them. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from rube.api import Binding, ExplainResponse, Role, Rule
from rube.api.errors import InvalidArgumentError
from rube.api.keys import ObjectKey
from rube.api.selectors import LabelSelector
from rube.api.well_known import BINDING_TYPE, EVERY_TYPE, ROLE_TYPE
from rube.server.rights.built_in import GROUP_ROLES, ROLES, own_rules
from rube.server.rights.conditions import Ask
from rube.server.rights.grants import Grant, fits
from rube.server.rights.subjects import Subject
from rube.server.stored_object import StoredObject

_LOG = logging.getLogger("rube.security")
CACHED_MAX: Final = 8_192
"""So many callers, and so many of their verbs and types, are remembered."""


class Access(NamedTuple):
    """The grants of one caller for one verb and one type."""

    grants: tuple[Grant, ...]

    def plain(self, namespace: str, name: str) -> Grant | None:
        """Returns a grant that allows it whatever the object is; None: there is none."""
        for grant in self.grants:
            if grant.plain and grant.at(namespace, name):
                return grant
        return None

    def possible(self, namespace: str, name: str) -> list[Grant]:
        """Returns the grants that allow it for some object of that key."""
        return [grant for grant in self.grants if grant.at(namespace, name)]

    def reaches(self, namespace: str, name: str) -> bool:
        """Returns whether any grant allows it for some object at a place; empty: any namespace, any name."""
        return any(
            grant.at(namespace, name)
            if namespace or grant.namespaces is None
            else not name or grant.at(next(iter(grant.namespaces), ""), name)
            for grant in self.grants
        )

    def allows(self, ask: Ask) -> Grant | None:
        """Returns the grant that allows it for this object, as it is and as it would be."""
        key = ask.key
        old, new = (None if obj is None else obj.metadata.labels for obj in (ask.old, ask.new))
        for grant in self.grants:
            if grant.at(key.namespace, key.name) and grant.allows(ask, old, new):
                return grant
        return None


class Policy:
    """A value: a change of a role or of a binding makes another one."""

    def __init__(self, roles: Mapping[str, Role], bindings: Mapping[str, Binding]) -> None:
        self.roles = roles
        self.bindings = bindings
        self.access = lru_cache(maxsize=CACHED_MAX)(self._access)
        self.grants_of = lru_cache(maxsize=CACHED_MAX)(self._grants_of)

    def with_objects(self, objects: Mapping[bytes, StoredObject | None]) -> Policy:
        """Returns the policy after a write: the objects under their keys, of which some may be roles or bindings."""
        roles, bindings = dict(self.roles), dict(self.bindings)
        for raw, obj in objects.items():
            key = ObjectKey.from_bytes(raw)
            if key.type == ROLE_TYPE:
                roles.pop(key.name, None)
                if obj is not None:
                    roles[key.name] = Role.FromString(obj.spec_value())
            elif key.type == BINDING_TYPE:
                bindings.pop(key.name, None)
                if obj is not None:
                    bindings[key.name] = Binding.FromString(obj.spec_value())
        return Policy(roles, bindings)

    def roles_of(self, subject: Subject) -> list[tuple[str, str, frozenset[str] | None]]:
        """Returns the caller's roles, each with its binding for people, and the namespaces that this narrows it to."""
        found: list[tuple[str, str, frozenset[str] | None]] = [
            (GROUP_ROLES[group], f"group {group}", None) for group in subject.groups if group in GROUP_ROLES
        ]
        names = [str(subject), *(f"group/{group}" for group in subject.groups)]
        for name in sorted(self.bindings):
            binding = self.bindings[name]
            if any(fits(pattern, each) for pattern in binding.subjects for each in names):
                found.append((binding.role, f"binding {name}", frozenset(binding.namespaces) or None))
        return found

    def manages_rights(self, subject: Subject) -> bool:
        """Returns whether the caller may write every role and every binding."""
        return all(
            any(
                grant.plain and not grant.names and grant.at("", "")
                for grant in self.access(subject, "put", name).grants
            )
            for name in (ROLE_TYPE, BINDING_TYPE)
        )

    def covering(
        self, subject: Subject, verb: str, type_name: str, place: ObjectKey, labels: LabelSelector
    ) -> Grant | None:
        """Returns a grant that allows it for every object of a type at a place (empty: any) with such labels."""
        required = frozenset(labels.requirements)
        for grant in self.access(subject, verb, type_name).grants:
            if type_name == EVERY_TYPE and EVERY_TYPE not in grant.types:
                continue
            named = not grant.names or (place.name and grant.at(place.namespace, place.name))
            there = grant.namespaces is None or place.namespace in grant.namespaces
            if named and there and grant.condition is None and required.issuperset(grant.selector.requirements):
                return grant
        return None

    def explain(self, subject: Subject, verb: str, key: ObjectKey) -> ExplainResponse:
        """Returns the answer to whether a caller may do something, and why."""
        response = ExplainResponse()
        access = self.access(subject, verb, key.type)
        if (grant := access.plain(key.namespace, key.name)) is not None and (key.name or not grant.names):
            response.answer, response.rules[:] = ExplainResponse.ALLOWED, [describe(grant)]
        elif possible := access.possible(key.namespace, key.name):
            response.answer = ExplainResponse.DEPENDS
            response.rules.extend(describe(grant) for grant in possible)
        else:
            response.missing = self._missing(subject, verb, key)
        return response

    def _missing(self, subject: Subject, verb: str, key: ObjectKey) -> str:
        roles = sorted({role for role, _, _ in self.roles_of(subject)})
        what = f"{verb} {key.type}"
        known = [grant for grant in self.grants_of(subject) if grant.of_type(key.type)]
        if any(verb in grant.verbs for grant in known):
            place = f"namespace {key.namespace!r}" if key.namespace else "objects without a namespace"
            return f"its rules for {what} are about other places or names than {place}, {key.name or 'any name'!r}"
        if known:
            verbs = sorted({each for grant in known for each in grant.verbs})
            return f"its rules for {key.type} have the verbs {', '.join(verbs)}, and not {verb}: add it to a role"
        if subject.kind == "node":
            return f"a node may do nothing to {key.type} but what is bound to it"
        if not roles:
            return f"{subject} has no role: put an {BINDING_TYPE} with subjects: {str(subject)!r} and a role"
        return f"none of its roles ({', '.join(roles)}) has a rule for {key.type}: add one to a role"

    def _access(self, subject: Subject, verb: str, type_name: str) -> Access:
        if type_name == EVERY_TYPE:
            return Access(tuple(grant for grant in self.grants_of(subject) if verb in grant.verbs))
        return Access(
            tuple(grant for grant in self.grants_of(subject) if verb in grant.verbs and grant.of_type(type_name))
        )

    def _grants_of(self, subject: Subject) -> tuple[Grant, ...]:
        found: list[Grant] = []
        for rule in own_rules(subject.kind, subject.name):
            found.append(Grant.of(rule, f"the rights of every {subject.kind}", None))
        for role_name, where, namespaces in self.roles_of(subject):
            role = ROLES.get(role_name) or self.roles.get(role_name)
            if role is not None:
                for index, rule in enumerate(role.rules):
                    found += _grant(rule, f"rules[{index}] of role {role_name}, by {where}", namespaces)
        return tuple(found)


def _grant(rule: Rule, source: str, namespaces: frozenset[str] | None) -> Iterable[Grant]:
    """Yields a rule's grant; nothing for one that this program cannot read: what is not understood allows nothing."""
    try:
        yield Grant.of(rule, source, namespaces)
    except InvalidArgumentError as error:
        _LOG.error("%s allows nothing: %s", source, error.message)


def describe(grant: Grant) -> str:
    """Returns a grant for people: its source, and what it depends on."""
    limits = []
    if grant.selector.requirements:
        limits.append(f"for objects with {grant.selector}")
    if grant.condition is not None:
        limits.append(f"if {grant.condition.text}")
    return " ".join([grant.source, *limits])
