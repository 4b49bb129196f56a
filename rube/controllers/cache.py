"""The cache of the runtime: informers, one a type, behind one port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace

from rube.api import Object
from rube.api.keys import ObjectKey, type_of
from rube.api.well_known import EVERY_TYPE
from rube.client import Change, Client, Informer, InformerConfig
from rube.controllers.contract import Controller, Relation, TransformingController
from rube.controllers.key_index import KeysByValue, relations_of
from rube.controllers.label_index import LabelIndex
from rube.controllers.ports import Listener, Position
from rube.host import Host


class InformerCache:
    """A `Cache` over informers of different types. Its objects are shared: copy before you change one."""

    def __init__(self, informers: Mapping[str, Informer]) -> None:
        """The informers by type."""
        self._listeners: list[Listener] = []
        self._informers = informers
        # By type and label, and by type and what is indexed, made on first use.
        self._labels: dict[tuple[str, str], LabelIndex] = {}
        self._indexes: dict[tuple[str, Callable[[Object], Iterable[str]]], KeysByValue[str]] = {}
        self._relations = KeysByValue(relations_of)
        self._relates = EVERY_TYPE in informers
        for informer in self._informers.values():
            informer.add_handler(self._changed)
            informer.add_progress_handler(self._moved)

    @classmethod
    def of(cls, client: Client, host: Host, configs: Sequence[InformerConfig]) -> InformerCache:
        """Returns a cache over new informers. At most one config a type."""
        informers = {config.type: Informer(client, host, config) for config in configs}
        assert len(informers) == len(configs), "one informer a type"
        return cls(informers)

    def part(self, type_name: str) -> InformerCache:
        """Returns a cache of that type alone over the same informer, whatever the state of the others."""
        return InformerCache({type_name: self._informers[type_name]})

    async def run(self) -> None:
        """Keeps the copies up to date until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                group.create_task(informer.run())

    def get(self, key: ObjectKey) -> Object | None:
        informer = self._informer(key.type)
        return None if informer is None else informer.objects.get(key)

    def list(self, type_name: str) -> Sequence[Object]:
        informer = self._informer(type_name)
        return () if informer is None else [informer.objects[key] for key in self.keys(type_name)]

    def keys(self, type_name: str) -> Sequence[ObjectKey]:
        informer = self._informer(type_name)
        if informer is None:
            return ()
        every = type_name in self._informers
        return sorted(key for key in informer.objects if every or key.type == type_name)

    def labelled(self, type_name: str, label: str, value: str) -> Set[ObjectKey]:
        index = self._labels.get((type_name, label))
        if index is None:
            index = self._labels[type_name, label] = LabelIndex(label, self.list(type_name))
        return index.keys(value)

    def related(self, relation: Relation, value: str) -> Collection[ObjectKey]:
        assert self._relates, "only a cache of every type relates objects"
        return self._relations.keys((relation, value))

    def indexed(
        self, type_name: str, values_of: Callable[[Object], Iterable[str]], value: str
    ) -> Collection[ObjectKey]:
        index = self._indexes.get((type_name, values_of))
        if index is None:
            index = self._indexes[type_name, values_of] = KeysByValue(values_of, self.list(type_name))
        return index.keys(value)

    def assume(self, decided: ObjectKey, objects: Sequence[Object]) -> None:
        for (type_name, _), index in self._labels.items():
            index.assume(decided, [obj for obj in objects if type_of(obj.spec) == type_name])

    def position(self, type_name: str) -> Position | None:
        informer = self._informer(type_name)
        return None if informer is None else Position(informer.revision, informer.store_id)

    def refusal(self, type_name: str) -> str:
        """Returns the server's words while it does not know that type; "" otherwise."""
        return self._informers[type_name].refusal

    @property
    def synced(self) -> bool:
        return all(informer.revision > 0 or informer.synced.is_set() for informer in self._informers.values())

    @property
    def connected(self) -> bool:
        return all(informer.connected for informer in self._informers.values())

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def unsubscribe(self, listener: Listener) -> None:
        self._listeners.remove(listener)

    def _informer(self, type_name: str) -> Informer | None:
        return self._informers.get(type_name) or self._informers.get(EVERY_TYPE)

    def _changed(self, change: Change) -> None:
        if self._relates:
            self._relations.see(change.key, change.new)
        for indexes in (self._labels, self._indexes):
            for (type_name, _), index in indexes.items():
                if type_name == change.key.type:
                    index.see(change.key, change.new)
        for listener in self._listeners:
            listener(change)

    def _moved(self) -> None:
        for listener in self._listeners:
            listener(None)


def configs_for(controller: Controller) -> list[InformerConfig]:
    """Returns the configs of a controller's informers: one for its own type and one for each other type that it
    sees."""
    wanted = dict.fromkeys((each.type, each.namespace, each.selector) for each in controller.inputs)
    inputs = [
        InformerConfig(type=name, namespace=namespace, label_selector=selector) for name, namespace, selector in wanted
    ]
    own = InformerConfig(type=controller.type, label_selector=controller.selector)
    if isinstance(controller, TransformingController):
        own = replace(own, transform=controller.transform)
    return [own, *inputs]
