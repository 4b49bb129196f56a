"""Logs of units, from the node through the apiserver to the user, also when something breaks between."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import aclosing
from itertools import count

import pytest

from rube.api import LogsRequest
from rube.api.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    RubeError,
    UnavailableError,
)
from rube.api.keys import ObjectKey
from rube.client import Client
from rube.sim.units.unit import Behaviour
from rube.sim.world.kernel import World
from rube.units.names import unit_name
from tests.simulation.node_world import API, NODE, NodeWorld, unit, unit_key

SOCKET = f"{NODE}:7824"
NUMBERS = count()
ABSENT, ELSEWHERE, NO_UNIT = unit_key("absent"), unit_key("far"), ObjectKey("api.Node", "", NODE)


@pytest.fixture
def nodes() -> Iterator[NodeWorld]:
    with World(seed=5) as world:
        yield NodeWorld(world)


def start(nodes: NodeWorld, behaviour: Behaviour | None = None) -> None:
    nodes.start_apiserver()
    nodes.start_rubelet()
    nodes.services_of(NODE).behave(unit_name("default", "web"), behaviour or Behaviour(prints=("hello", "world")))
    nodes.world.run_for(2)
    nodes.put("web", unit())
    nodes.world.run_for(2)


def logs(nodes: NodeWorld, name: str = "web", target: str = API, **fields: object) -> list[str]:
    async def read(client: Client) -> list[str]:
        request = LogsRequest(key=unit_key(name).to_proto(), **fields)  # type: ignore[arg-type]
        async with aclosing(client.logs(request)) as responses:
            return [line.text async for response in responses for line in response.lines]

    found: list[str] = nodes.call(read, target)
    return found


class Follower:
    """A user's `ructl logs -f`, beside whatever the test does."""

    def __init__(self, nodes: NodeWorld, lines: int = 0, pause_s: float = 0.0) -> None:
        self.lines: list[str] = []
        self.error: RubeError | None = None
        self.ended_s = 0.0
        self._nodes, self._lines, self._pause_s = nodes, lines, pause_s
        self.process = nodes.machine("desk").host.spawn(f"ructl-{next(NUMBERS)}", self._run)

    async def _run(self) -> None:
        ports = self._nodes.machine("desk").ports
        request = LogsRequest(key=unit_key("web").to_proto(), lines=self._lines, follow=True)
        try:
            async with Client(ports, [API]) as client, aclosing(client.logs(request)) as responses:
                async for response in responses:
                    self.lines += [line.text for line in response.lines]
                    await asyncio.sleep(self._pause_s)
        except RubeError as error:
            self.error, self.ended_s = error, self._nodes.world.now_ns / 1e9


def test_the_last_lines_come_from_the_node(nodes: NodeWorld) -> None:
    start(nodes)
    assert logs(nodes)[-2:] == ["hello", "world"]
    assert logs(nodes, lines=1) == ["world"]
    assert logs(nodes, lines=0) == []


def test_the_nodes_own_socket_answers_too(nodes: NodeWorld) -> None:
    start(nodes)
    assert logs(nodes, target=SOCKET)[-1] == "world"


def test_since_leaves_out_what_is_older(nodes: NodeWorld) -> None:
    start(nodes)
    nodes.world.run_for(60)
    nodes.services_of(NODE).crash(unit_name("default", "web"))
    nodes.world.run_for(1)
    (line,) = logs(nodes, since={"seconds": 30})
    assert "signal 11" in line


def test_follow_shows_what_is_printed_as_it_comes(nodes: NodeWorld) -> None:
    start(nodes, Behaviour(prints_every_s=1.0))
    follower = Follower(nodes)
    nodes.world.run_for(10.5)
    assert 9 <= follower.lines.count("tick") <= 11


def test_a_user_who_leaves_ends_the_work_on_the_node(nodes: NodeWorld) -> None:
    start(nodes, Behaviour(prints_every_s=0.1))
    for _ in range(40):  # more than a node answers at once
        follower = Follower(nodes)
        nodes.world.run_for(1)
        assert follower.lines
        follower.process.kill()
    nodes.world.run_for(20)
    assert logs(nodes, lines=1) == ["tick"]


def test_a_node_answers_only_so_many(nodes: NodeWorld) -> None:
    start(nodes)
    followers = [Follower(nodes) for _ in range(17)]
    nodes.world.run_for(2)
    (refused,) = [each.error for each in followers if each.error is not None]
    assert isinstance(refused, ResourceExhaustedError)
    assert "node_answers_max" in refused.message


def test_a_partition_ends_a_follow_and_the_node_is_named_with_its_silence(nodes: NodeWorld) -> None:
    start(nodes, Behaviour(prints_every_s=1.0))
    follower = Follower(nodes)
    nodes.world.run_for(5)
    cut_s = nodes.world.now_ns / 1e9
    nodes.fabric.isolate(NODE)
    nodes.world.run_for(20)
    assert isinstance(follower.error, UnavailableError)
    assert NODE in follower.error.message
    assert follower.ended_s - cut_s < 16
    with pytest.raises(UnavailableError, match=f"node {NODE} has not been attached .* ago"):
        logs(nodes)
    nodes.world.run_for(60)
    with pytest.raises(UnavailableError, match=f"node {NODE} is silent since .* ago") as silent:
        logs(nodes)
    (ago_s,) = map(int, re.findall(r"\((\d+) s ago\)", silent.value.message))
    assert ago_s >= nodes.world.now_ns // 10**9 - cut_s, "since it was last heard, not since that was noticed"
    nodes.fabric.rejoin(NODE)
    nodes.world.run_for(20)
    assert logs(nodes, lines=1) == ["tick"], "it has attached again"


def test_a_rubelet_that_is_killed_ends_a_follow(nodes: NodeWorld) -> None:
    nodes.start_apiserver()
    rubelet = nodes.start_rubelet()
    nodes.world.run_for(2)
    nodes.put("web", unit())
    nodes.world.run_for(2)
    follower = Follower(nodes)
    nodes.world.run_for(2)
    rubelet.kill()
    nodes.world.run_for(2)
    assert isinstance(follower.error, UnavailableError)


def test_a_unit_that_is_deleted_ends_its_follow(nodes: NodeWorld) -> None:
    start(nodes)
    follower = Follower(nodes)
    nodes.world.run_for(2)
    nodes.delete("web")
    nodes.world.run_for(2)
    assert isinstance(follower.error, NotFoundError)


def test_a_reader_that_does_not_read_holds_nobody_else_up(nodes: NodeWorld) -> None:
    start(nodes, Behaviour(prints_every_s=0.5))
    slow, quick = Follower(nodes, pause_s=10_000), Follower(nodes)
    nodes.world.run_for(120)
    assert quick.lines.count("tick") > 230
    assert slow.error is None


def test_another_apiserver_is_asked_where_one_cannot_reach_the_node(nodes: NodeWorld) -> None:
    start(nodes)
    assert logs(nodes, target=f"{SOCKET},{API}")[-1] == "world"
    with pytest.raises(UnavailableError):
        logs(nodes, target="nowhere:7823")
    assert logs(nodes, target=f"nowhere:7823,{API}")[-1] == "world"


@pytest.mark.parametrize(
    ("prepare", "key", "error", "match"),
    [
        (lambda nodes: None, unit_key("absent"), NotFoundError, "does not exist"),
        (lambda nodes: None, ObjectKey("api.Node", "", NODE), InvalidArgumentError, "has no log"),
        (
            lambda nodes: nodes.put("far", unit(), "nowhere"),
            unit_key("far"),
            UnavailableError,
            "nowhere does not exist",
        ),
    ],
)
def test_what_cannot_be_read_is_said(
    nodes: NodeWorld, prepare: Callable[[NodeWorld], None], key: ObjectKey, error: type[RubeError], match: str
) -> None:
    start(nodes)
    prepare(nodes)

    async def read(client: Client) -> None:
        async with aclosing(client.logs(LogsRequest(key=key.to_proto()))) as responses:
            async for _ in responses:
                pass

    with pytest.raises(error, match=match):
        nodes.call(read)


def test_a_unit_without_a_node_has_printed_nothing(nodes: NodeWorld) -> None:
    nodes.start_apiserver(controllers=False)
    nodes.world.run_for(1)
    nodes.put("web", unit(), node="")
    with pytest.raises(FailedPreconditionError, match="bound to no node"):
        logs(nodes)


def test_a_node_does_not_answer_for_units_of_another(nodes: NodeWorld) -> None:
    start(nodes)
    nodes.start_rubelet("worker-2")
    nodes.world.run_for(2)
    with pytest.raises(NotFoundError, match="not bound to node worker-2"):
        logs(nodes, target="worker-2:7824")


def test_the_status_of_a_failed_unit_has_its_last_lines_until_it_runs_again(nodes: NodeWorld) -> None:
    start(nodes)
    nodes.services_of(NODE).crash(unit_name("default", "web"))
    nodes.world.run_for(5)
    tail = list(nodes.status("web").log_tail)
    assert tail[-2:] == ["world", tail[-1]]
    assert "signal 11" in tail[-1]
    changed = unit()
    changed.description = "again"
    nodes.put("web", changed)
    nodes.world.run_for(5)
    assert nodes.status("web").active_state == "active"
    assert not nodes.status("web").log_tail
