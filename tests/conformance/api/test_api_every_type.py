"""Lists and watches of every type."""

from __future__ import annotations

from rube.api import ListRequest, Metadata, Node, Object
from rube.api.types import pack
from tests.conformance.api.api_sites import Site, serve, unit


def node(name: str) -> Object:
    return Object(metadata=Metadata(name=name), spec=pack(Node()))


async def test_a_list_of_every_type_has_all_objects_or_those_of_a_namespace(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"), unit("b", namespace="other"), node("worker-1"))
        found = await api.client.list_objects(ListRequest(type="*", page_size=1))
        assert [obj.metadata.name for obj in found.items] == ["worker-1", "b", "a"]
        found = await api.client.list_objects(ListRequest(type="*", namespace="system"))
        assert [obj.metadata.name for obj in found.items] == ["a"]
        found = await api.client.list_objects(ListRequest(type="*", name="b"))
        assert [obj.metadata.name for obj in found.items] == ["b"]


async def test_a_watch_of_every_type_shows_all_changes_in_one_order(site: Site) -> None:
    async with serve(site) as api:
        await api.put(node("worker-1"))
        async with api.watch(type="*", send_initial=True) as watch:
            assert await watch.change() == "update worker-1"
            await api.put(unit("a"))
            await api.put(node("worker-2"))
            await api.delete("a")
            assert [await watch.change() for _ in range(3)] == ["update a", "update worker-2", "delete a"]
