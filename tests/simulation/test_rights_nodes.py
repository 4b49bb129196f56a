"""A whole rubelet with the rights of its node, and no others: what it needs is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from rube.api import CoreEvent, ListRequest, LogsRequest
from rube.api.errors import RubeError
from rube.client import Client
from rube.server.rights import gate, sight
from rube.server.rights.subjects import Context, RightsConfig, Subject
from rube.sim.world.kernel import World
from tests.simulation.node_world import NodeWorld, unit, unit_key


def by_host(context: Context) -> Subject:
    """Returns the node of a host that runs one, and an administrator for any other host."""
    host = context.peer().split(":")[-2]
    return Subject("node", host) if host.startswith("worker") else Subject("user", host, ("admins",))


def test_a_rubelet_with_the_rights_of_its_node_is_denied_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[Any] = []
    deny = sight.denied

    def noting(subject: Subject, verb: str, keys: Any) -> RubeError:
        refused.append((str(subject), verb, keys))
        return deny(subject, verb, keys)

    monkeypatch.setattr(gate, "denied", noting)
    with World(seed=5) as world:
        nodes = NodeWorld(world)
        nodes.start_apiserver(rights=RightsConfig(identify=by_host))
        nodes.start_rubelet()
        nodes.put("web", unit())
        nodes.put("other", unit(), node="worker-2")
        world.run_for(40)
        assert nodes.status("web").active_state == "active"
        assert nodes.readiness() == 1

        async def log(client: Client) -> None:
            async for _ in client.logs(LogsRequest(key=unit_key("web").to_proto())):
                return

        nodes.call(log)

        async def events(client: Client) -> list[str]:
            found = await client.list_objects(ListRequest(type="core.Event"))
            return [CoreEvent.FromString(each.spec.value).reason for each in found.items]

        assert "Started" in nodes.call(events)
        nodes.delete("web")
        world.run_for(20)
        assert nodes.seen("web").status.load_state == "not-found"
    assert refused == []
