"""The driver on a real and on a simulated directory, and the node controller killed between any two of its steps:
`python -m pytest test_files.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import files_pb2
import pytest
from directory import Folder
from driver import FILES, RECORDS, Directory, Entry, FileDriver
from files import FILE, files, on
from files_pb2 import File, FileAction, FileObservation, Write
from simulated import Disk, SimDirectory

from rube.api import Action, Object
from rube.api.errors import FailedPreconditionError
from rube.api.keys import ObjectKey
from rube.api.types import pack
from rube.api.types.protos import checked_types, files_of
from rube.host import RealClock
from rube.sim.cluster.cluster import SimCluster
from rube.sim.cluster.daemons import SimNode
from rube.sim.cluster.user import User
from rube.sim.world.kernel import World, current_process

MOTD = File(path="etc/motd", content=b"Welcome.\n", mode="0644")
NAME = "default.motd"
Body = Callable[[FileDriver, Directory], Awaitable[None]]

# The same test bodies on both directories


def run_real(body: Body, path: Path) -> None:
    directory = Folder(path)
    asyncio.run(body(FileDriver(directory, RealClock()), directory))  # type: ignore[arg-type]


def run_simulated(body: Body, path: Path) -> None:
    with World(seed=1) as world:
        clock = world.host("worker-1").clock
        directory = SimDirectory(Disk(), clock)
        world.run(lambda: body(FileDriver(directory, clock), directory))  # type: ignore[arg-type, return-value]


both = pytest.mark.parametrize("run", [run_real, run_simulated])


def write(file: File, name: str = NAME, uid: str = "uid-1") -> Action:
    return Action(id="1", action=pack(FileAction(name=name, write=Write(file=file, uid=uid))))


def removal(name: str = NAME) -> Action:
    return Action(id="2", action=pack(FileAction(name=name, remove=True)))


async def seen(driver: FileDriver, name: str = NAME) -> FileObservation:
    return FileObservation.FromString((await driver.observe(name)).value)


@both
def test_what_is_written_is_seen_and_listed(run: Any, tmp_path: Path) -> None:
    async def body(driver: FileDriver, directory: Directory) -> None:
        assert await seen(driver) == FileObservation()
        assert await driver.list() == []
        assert not await driver.apply(write(MOTD))
        assert await seen(driver) == FileObservation(uid="uid-1", file=MOTD)
        assert await driver.list() == [NAME]

    run(body, tmp_path)


@both
def test_an_action_twice_is_as_once(run: Any, tmp_path: Path) -> None:
    async def body(driver: FileDriver, directory: Directory) -> None:
        for action in (write(MOTD), write(MOTD)):
            await driver.apply(action)
        assert await seen(driver) == FileObservation(uid="uid-1", file=MOTD)
        for action in (removal(), removal()):
            await driver.apply(action)
        assert await seen(driver) == FileObservation()
        assert (await driver.list(), await directory.read(f"{FILES}/{MOTD.path}")) == ([], None)

    run(body, tmp_path)


@both
def test_another_path_takes_the_old_file_away(run: Any, tmp_path: Path) -> None:
    moved = File(path="etc/issue", content=b"Welcome.\n", mode="0600")

    async def body(driver: FileDriver, directory: Directory) -> None:
        await driver.apply(write(MOTD))
        await driver.apply(write(moved, uid="uid-2"))
        assert await seen(driver) == FileObservation(uid="uid-2", file=moved)
        assert await directory.read(f"{FILES}/{MOTD.path}") is None

    run(body, tmp_path)


@both
def test_a_file_that_is_gone_or_another_one_is_seen_so(run: Any, tmp_path: Path) -> None:
    async def body(driver: FileDriver, directory: Directory) -> None:
        await driver.apply(write(MOTD))
        await directory.write(f"{FILES}/{MOTD.path}", Entry(b"mine", "0644"))
        assert (await seen(driver)).file.content == b"mine"
        await directory.remove(f"{FILES}/{MOTD.path}")
        assert await seen(driver) == FileObservation(uid="uid-1")

    run(body, tmp_path)


@both
def test_what_others_have_is_not_overwritten(run: Any, tmp_path: Path) -> None:
    async def body(driver: FileDriver, directory: Directory) -> None:
        await directory.write(f"{FILES}/{MOTD.path}", Entry(b"mine", "0644"))
        with pytest.raises(FailedPreconditionError, match=r"etc/motd is there already, and was not made by Rube"):
            await driver.apply(write(MOTD))
        await driver.apply(write(File(path="a", mode="0644"), name="default.a"))
        with pytest.raises(FailedPreconditionError, match=r"a is the file of default\.a: give one of the two another"):
            await driver.apply(write(File(path="a", mode="0644"), name="default.b"))
        assert await driver.list() == ["default.a"]

    run(body, tmp_path)


@both
@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", ".rube-x", "a\nb"])
def test_a_path_that_leads_elsewhere_is_refused(run: Any, tmp_path: Path, path: str) -> None:
    async def body(driver: FileDriver, directory: Directory) -> None:
        with pytest.raises(FailedPreconditionError, match="is not taken: use names of letters"):
            await driver.apply(write(File(path=path, mode="0644")))
        assert await driver.list() == []

    run(body, tmp_path)


def test_a_link_that_leads_out_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "root" / "files").mkdir(parents=True)
    (tmp_path / "root" / "files" / "etc").symlink_to(tmp_path)

    async def body(driver: FileDriver, directory: Directory) -> None:
        with pytest.raises(FailedPreconditionError, match="is outside of"):
            await driver.apply(write(MOTD))

    run_real(body, tmp_path / "root")
    assert not (tmp_path / "motd").exists()


@both
def test_a_change_by_hand_is_hinted_at(run: Any, tmp_path: Path) -> None:
    async def body(driver: FileDriver, directory: Directory) -> None:
        await driver.apply(write(MOTD))
        hints = driver.changes()
        coming = asyncio.ensure_future(anext(hints))
        await asyncio.sleep(0.5)
        await directory.remove(f"{FILES}/{MOTD.path}")
        assert await coming == NAME

    run(body, tmp_path)


# Killed between any two steps


class Killing:
    """A directory whose process is killed before or after one of its changes."""

    def __init__(self, inner: SimDirectory, steps: list[int]) -> None:
        self._inner, self._steps = inner, steps
        self.names, self.read = inner.names, inner.read

    async def _step(self) -> None:
        self._steps[0] -= 1
        if self._steps[0] == 0:
            current_process().kill()
            await asyncio.Event().wait()  # a dead task runs no further

    async def write(self, path: str, entry: Entry) -> None:
        await self._step()
        await self._inner.write(path, entry)
        await self._step()

    async def remove(self, path: str) -> None:
        await self._step()
        await self._inner.remove(path)
        await self._step()


def file_object(name: str, path: str, content: bytes = b"x\n") -> Object:
    obj = Object(spec=pack(File(path=path, content=content)))
    obj.metadata.namespace, obj.metadata.name, obj.metadata.labels["node"] = "default", name, "worker-1"
    return obj


def put(*objects: Object) -> Callable[[User], Any]:
    return lambda user: user.put_objects(objects)


ACTS: Sequence[Callable[[User], Any]] = (
    put(file_object("motd", "etc/motd"), file_object("gone", "gone")),
    put(file_object("motd", "etc/issue", b"y\n")),
    lambda user: user.delete_objects([ObjectKey(FILE, "default", "gone")], 0),
)
CHANGES = 9
"""A record and a file each for two objects; a file removed, a record and a file for a path; a removal's two."""


@pytest.mark.parametrize("fatal", range(1, 2 * CHANGES + 1))
def test_the_files_are_as_the_objects_say_wherever_the_rubelet_is_killed(fatal: int) -> None:
    steps = [fatal]

    def maker(node: SimNode) -> Any:
        directory = Killing(SimDirectory(node.kept(Disk), node.host.clock), steps)
        return on(directory, node.host.clock, "killing")

    with World(seed=fatal) as world:
        cluster = SimCluster(world)
        cluster.add_apiserver("api-1")
        cluster.add_node("worker-1", [maker])
        world.run_for(2)
        cluster.run(put(*checked_types(files_of(files_pb2))))
        world.run_for(6)  # the rubelet asks again for the type that there was not
        for act in ACTS:
            cluster.run(act)
            world.run_for(3)
            if not cluster.is_running("worker-1"):
                cluster.faults.restart("worker-1")
                world.run_for(3)
        world.run_for(10)
        disk = cluster.kept("worker-1", Disk)
        assert sorted(disk.files) == [f"{RECORDS}/default.motd", f"{FILES}/etc/issue"]
        assert disk.files[f"{FILES}/etc/issue"] == Entry(b"y\n", "0644")
    assert steps[0] <= 0, "no step is left to kill it at: lower CHANGES"


def test_the_maker_puts_files_beside_the_rubelets_own(tmp_path: Path) -> None:
    class Node:
        data = tmp_path

        class host:
            clock = RealClock()

    made = files(Node())  # type: ignore[arg-type]
    assert (made.driver_name, made.controller.name) == ("files", "files")
    asyncio.run(made.driver.apply(write(MOTD)))
    assert (tmp_path / "files" / "etc" / "motd").read_bytes() == MOTD.content
