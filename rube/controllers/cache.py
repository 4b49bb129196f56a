"""The cache that the runtime sees with: informers, one a type, behind one port."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rube import api_pb2
from rube.api.keys import ObjectKey
from rube.client import Change, Client, Informer, InformerConfig
from rube.controllers.contract import Controller
from rube.controllers.ports import Listener, Position
from rube.host import Host

__all__ = ["InformerCache", "configs_for"]


class InformerCache:
    """A `Cache` over informers of different types. What they hold is shared: copy before you change it."""

    def __init__(self, client: Client, host: Host, configs: Sequence[InformerConfig]) -> None:
        """At most one config a type."""
        self._listeners: list[Listener] = []
        self._informers = {config.type: Informer(client, host, config) for config in configs}
        assert len(self._informers) == len(configs), "one informer a type"
        for informer in self._informers.values():
            informer.add_handler(self._changed)
            informer.add_progress_handler(self._moved)

    async def run(self) -> None:
        """Keeps the copies up to date until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                group.create_task(informer.run())

    def get(self, key: ObjectKey) -> api_pb2.Object | None:
        informer = self._informers.get(key.type)
        return None if informer is None else informer.objects.get(key)

    def list(self, type_name: str) -> Sequence[api_pb2.Object]:
        informer = self._informers.get(type_name)
        return (
            () if informer is None else [obj for _, obj in sorted(informer.objects.items(), key=lambda pair: pair[0])]
        )

    def position(self, type_name: str) -> Position | None:
        informer = self._informers.get(type_name)
        return None if informer is None else Position(informer.revision, informer.store_id)

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

    def _changed(self, change: Change) -> None:
        changed = change.new if change.new is not None else change.old
        assert changed is not None, "a change has an object before it or after it"
        for listener in self._listeners:
            listener(changed)

    def _moved(self) -> None:
        for listener in self._listeners:
            listener(None)


def configs_for(controller: Controller) -> list[InformerConfig]:
    """What informers a controller needs: one for its own type and one for each other type that it sees."""
    inputs = [InformerConfig(type=wanted.type, namespace=wanted.namespace) for wanted in controller.inputs]
    return [InformerConfig(type=controller.type, label_selector=controller.selector), *inputs]
