"""Writes with request ids through connections that break and a server that is killed: each is carried out once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from rube.api import DeleteRequest, HistoryRequest, Key, Metadata, Object, Precondition, PutRequest, Unit, Version
from rube.api.errors import RubeError
from rube.api.types import BUILTIN, pack
from rube.client import Client, ClientConfig
from rube.server import ApiServer, ApiServerConfig, delete, first_answers, put
from rube.sim.cluster.machines import Daemon, Machine, make_machine
from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric
from rube.store import open_store

ADDRESS = "server:7823"
WRITERS = 3
WRITES = 12
RESETS = 150
PATIENT = ClientConfig(deadline_s=60, attempt_s_max=1, retries_max=200, backoff_s_initial=0.01, backoff_s_max=0.05)


def key(name: str) -> Key:
    return Key(type="api.systemd.Unit", namespace="system", name=name)


def unit(name: str, description: str) -> Object:
    spec = pack(Unit(description=description))
    return Object(metadata=Metadata(namespace="system", name=name), spec=spec)


@dataclass
class Log:
    """The answers that the writers got, and what is wrong with them."""

    puts: dict[str, int] = field(default_factory=dict)
    """The revision of each put of the shared object, by its description."""
    lives: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """The revisions at which each writer made and deleted its own object."""
    errors: list[str] = field(default_factory=list)


async def serve(machine: Machine) -> None:
    store = await open_store(machine.ports, "sqlite:///data")
    server = ApiServer(machine.ports, store, ApiServerConfig(listen=("0.0.0.0:7823",)))
    await server.start()
    await asyncio.Event().wait()


async def write(client: Client, name: str, log: Log) -> None:
    """Puts an object that others put too, and makes and deletes one of its own, again and again."""
    lives = log.lives.setdefault(name, [])
    for number in range(WRITES):
        said = f"{name} {number}"
        try:
            shared = PutRequest(objects=[unit("shared", said)], request_id=f"shared {said}".replace(" ", "-"))
            log.puts[said] = (await client.put(shared)).revision
            own = PutRequest(objects=[unit(name, said)], preconditions=[Precondition(absent=True)])
            own.request_id = f"{name}-{number}-made"
            made = (await client.put(own)).revision
            gone = DeleteRequest(keys=[key(name)], request_id=f"{name}-{number}-gone")
            lives.append((made, (await client.delete(gone)).revision))
        except RubeError as error:
            log.errors.append(f"{said}: {type(error).__name__}: {error.message}")


async def versions(client: Client, name: str) -> list[Version]:
    """All versions, oldest first."""
    found: list[Version] = []
    request = HistoryRequest(key=key(name))
    while True:
        page = await client.history(request)
        found += page.versions
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return found[::-1]


async def judge(client: Client, log: Log) -> list[str]:
    """Returns what is wrong: each write is in the history once, at the revision of its answer."""
    wrong = list(log.errors)
    stored: list[tuple[str, int]] = []
    for version in await versions(client, "shared"):
        spec = BUILTIN.unpack(version.object.spec)
        assert isinstance(spec, Unit)
        stored.append((spec.description, version.revision))
    if sorted(stored) != sorted(log.puts.items()):
        wrong.append(f"shared: {sorted(stored)} is stored, and {sorted(log.puts.items())} was answered")
    for name, lives in sorted(log.lives.items()):
        found = [(version.operation, version.revision) for version in await versions(client, name)]
        expected = [each for made, gone in lives for each in ((Version.CREATED, made), (Version.DELETED, gone))]
        if found != expected:
            wrong.append(f"{name}: {found} is stored, and {expected} was answered")
    return wrong


def run(seed: int) -> list[str]:
    """Runs the writers under faults; returns what is wrong."""
    world = World(seed)
    fabric = SimFabric(world)
    server = make_machine(world, fabric, world.host("server"))
    desk = make_machine(world, fabric, world.host("desk"))
    server.daemon = Daemon(name="apiserver", main=lambda: serve(server), restart_s=0.1)
    rng = world.random("faults")

    async def disturb() -> None:
        for count in range(RESETS):
            await asyncio.sleep(rng.uniform(0, 0.01))
            fabric.reset_connections("server", "desk")
            if count % 25 == 24:
                server.kill()
                await asyncio.sleep(0.05)
                server.start()

    async def main() -> list[str]:
        server.start()
        log = Log()
        clients = [Client(desk.ports, [ADDRESS], PATIENT) for _ in range(WRITERS)]
        faults = asyncio.ensure_future(disturb())
        await asyncio.gather(*(write(client, f"w{number}", log) for number, client in enumerate(clients)))
        await faults
        found = await judge(clients[0], log)
        for client in clients:
            await client.close()
        return found

    with world:
        result: list[str] = world.run(main, host=desk.host)
        return result


@pytest.fixture
def repeated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of requests that got the first answer again."""
    found: list[str] = []
    look = first_answers._first_answer

    async def counted(store: Any, request: Any, answer: Any) -> Any:
        first = await look(store, request, answer)
        if first is not None:
            found.append(request.request_id)
        return first

    monkeypatch.setattr(first_answers, "_first_answer", counted)
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_write_is_carried_out_once_although_answers_are_lost(seed: int, repeated: list[str]) -> None:
    assert run(seed) == []
    assert len(repeated) >= 3, "answers were lost after their commits"


def test_a_server_that_remembers_nothing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgetful(backend: Any, request: Any, intent: Any, respond: Callable[[Any], Awaitable[Any]]) -> Any:
        return respond(await backend.writer.write(intent))

    for module in (put, delete):
        monkeypatch.setattr(module, "carry_out", forgetful)
    assert run(1) != []
