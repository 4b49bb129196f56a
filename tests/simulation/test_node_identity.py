"""Two rubelets that are one: of one name, or on copies of one data directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rube.api.errors import AlreadyExistsError
from rube.rubelet import Rubelet
from rube.sim.world.kernel import World
from tests.simulation.node_world import NODE, NodeWorld, unit


@pytest.fixture
def nodes() -> Iterator[NodeWorld]:
    with World(seed=9) as world:
        yield NodeWorld(world)


def ends_of(nodes: NodeWorld, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The errors that rubelets ended with, in words."""
    ended: list[str] = []
    run = Rubelet.run

    async def noted(self: Rubelet) -> None:
        try:
            await run(self)
        except AlreadyExistsError as error:
            ended.append(error.message)
            raise

    monkeypatch.setattr(Rubelet, "run", noted)
    return ended


def test_of_two_rubelets_with_one_identity_the_older_one_ends_and_says_why(
    nodes: NodeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = ends_of(nodes, monkeypatch)
    nodes.start_apiserver()
    first = nodes.start_rubelet(crash_is_failure=False)
    nodes.world.run_for(5)
    copy = nodes.machine("copy")
    monkeypatch.setattr("rube.rubelet.identity.Identity.instance_id", property(lambda self: "one-and-the-same"))
    first.kill()
    first = nodes.start_rubelet(crash_is_failure=False)
    nodes.world.run_for(60)
    assert first.alive
    second = nodes.start_rubelet(NODE, on=copy.host.name, crash_is_failure=False)
    nodes.world.run_for(60)
    assert (first.alive, second.alive) == (False, True)
    (why,) = ended
    assert "a copy of this data directory" in why
    assert "--new-identity" in why


def test_a_restart_of_one_rubelet_is_no_copy(nodes: NodeWorld) -> None:
    nodes.start_apiserver()
    for _ in range(3):
        rubelet = nodes.start_rubelet()
        nodes.world.run_for(25)
        assert rubelet.alive
        rubelet.kill()
        nodes.world.run_for(1)


def test_a_displaced_rubelet_names_the_units_it_leaves(nodes: NodeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = ends_of(nodes, monkeypatch)
    nodes.start_apiserver()
    first = nodes.start_rubelet(crash_is_failure=False)
    nodes.world.run_for(2)
    nodes.put("web", unit())
    nodes.world.run_for(2)
    nodes.fabric.isolate(NODE)
    nodes.start_rubelet(NODE, on="other", crash_is_failure=False)
    nodes.world.run_for(120)
    nodes.fabric.rejoin(NODE)
    nodes.world.run_for(120)
    assert not first.alive
    (why,) = ended
    assert "that may still run here (1): rube-default.web.service" in why
    assert "--purge" in why
