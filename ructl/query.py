"""The objects that a command is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from rube.api import ListRequest, Object, Selector, WatchRequest, selectors, textproto
from rube.api.errors import InvalidArgumentError
from rube.api.keys import ObjectKey, key_of
from ructl.cluster_types import TYPES
from ructl.places import full_type_name, lack_of_type, parse_places

_SELECTOR_SIGNS = frozenset("=:{}\"' ")
_SELECTOR_FIELDS = ("namespace", "name", "uid", "labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Objects of one type; an empty field does not restrict."""

    type: str
    namespace: str = ""
    names: tuple[str, ...] = ()
    uid: str = ""
    labels: selectors.LabelSelector = selectors.EVERYTHING
    at_revision: int = 0
    """As they were at that revision; 0: now."""

    def exact_keys(self) -> tuple[ObjectKey, ...]:
        """The keys of the objects, where the query alone tells them; otherwise none, and they must be listed."""
        located = bool(self.namespace) or not TYPES.kind(self.type).namespaced
        if not located or self.uid or self.labels.requirements:
            return ()
        return tuple(ObjectKey(self.type, self.namespace, name) for name in self.names)

    def matches(self, obj: Object) -> bool:
        key, metadata = key_of(obj), obj.metadata
        return (
            key.type == self.type
            and self.namespace in ("", key.namespace)
            and (not self.names or key.name in self.names)
            and self.uid in ("", metadata.uid)
            and self.labels.matches(metadata.labels)
        )

    def list_request(self) -> ListRequest:
        return ListRequest(
            type=self.type,
            namespace=self.namespace,
            name=self._only_name(),
            label_selector=str(self.labels),
            revision=self.at_revision,
        )

    def watch_request(self) -> WatchRequest:
        return WatchRequest(
            type=self.type, namespace=self.namespace, name=self._only_name(), label_selector=str(self.labels)
        )

    def _only_name(self) -> str:
        return self.names[0] if len(self.names) == 1 else ""

    def __str__(self) -> str:
        """Returns text for users: `api.systemd.Unit system/indexer with node=worker-1`."""
        place = "/".join(filter(None, (self.namespace, ",".join(self.names) or ("*" if self.namespace else ""))))
        labels = f" with {self.labels}" if self.labels.requirements else ""
        uid = f" with uid {self.uid}" if self.uid else ""
        then = f" at revision {self.at_revision}" if self.at_revision else ""
        return f"{self.type}{' ' if place else ''}{place}{uid}{labels}{then}"


def parse_query(type_name: str | None, namespace: str | None, labels: str | None, names: Sequence[str]) -> Query:
    """The query that a command line means. Raises click.UsageError for one that means none."""
    try:
        if len(names) == 1 and _SELECTOR_SIGNS.intersection(names[0]):
            if type_name or namespace or labels:
                raise click.UsageError("give a selector alone, or -t, -n, -l and names")
            return _from_selector(textproto.parse_selector(names[0]))
        found = parse_places(type_name, namespace, names)
        if not found.type_name:
            context = click.get_current_context(silent=True)
            raise click.UsageError(lack_of_type(context.command_path if context else "ructl", names))
        query = Query(
            type=full_type_name(found.type_name),
            namespace=found.namespace or "",
            names=tuple(dict.fromkeys(found.names)),
            labels=selectors.parse(labels or ""),
        )
        _check(query)
    except InvalidArgumentError as error:
        raise click.UsageError(error.message) from error
    return query


def _from_selector(selector: Selector) -> Query:
    if not selector.type:
        raise click.UsageError("""the selector has no type: write 'type = "api.systemd.Unit", …'""")
    metadata = selector.metadata
    for field, _ in metadata.ListFields():
        if field.name not in _SELECTOR_FIELDS:
            raise click.UsageError(f"a selector cannot use metadata.{field.name}: use {', '.join(_SELECTOR_FIELDS)}")
    query = Query(
        type=full_type_name(selector.type),
        namespace=metadata.namespace,
        names=(metadata.name,) if metadata.name else (),
        uid=metadata.uid,
        labels=selectors.LabelSelector.of_labels(metadata.labels),
    )
    _check(query)
    return query


def _check(query: Query) -> None:
    """Raises InvalidArgumentError for a key that no object can have."""
    for name in query.names or ("any",):
        namespace = query.namespace or ("any" if TYPES.kind(query.type).namespaced else "")
        TYPES.validate_object_key(ObjectKey(query.type, namespace, name))
