"""A real rubelet under pressure: units that hang when they start or stop, few open files, a long data path."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from rube.api import DeleteRequest, Object, Service, Unit
from rube.api.keys import ObjectKey
from rube.cli.local import RUBELET, RUCTL, LocalCluster, local_cluster, run
from rube.client import Client
from tests.real.cluster_calls import UNIT_TYPE, client_of, node_status, put, sleeper, status_of, until, until_active
from tests.real.full_disk import mounted, take_all

NODE = "worker-1"
HANGING = 20
SOON_S = 30.0
"""Far less than what any of the hanging units takes, also on a loaded machine."""


def changed(name: str, change: Callable[[Unit], None]) -> Object:
    obj, unit = sleeper(name), Unit()
    obj.spec.Unpack(unit)
    change(unit)
    obj.spec.Pack(unit, "rube/")
    return obj


def on_cluster(directory: Path, body: Callable[[LocalCluster, Client], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with local_cluster(directory) as cluster, client_of(cluster) as client:
            await cluster.start_rubelet(NODE)
            await body(cluster, client)

    asyncio.run(main())


def test_slow_stops_hold_up_no_new_unit(tmp_path: Path) -> None:
    def slow(unit: Unit) -> None:
        unit.service.exec.stop.append("/bin/sleep 1000")
        unit.service.time.stop_timeout = 45

    async def body(cluster: LocalCluster, client: Client) -> None:
        names = [f"slow{number}" for number in range(HANGING)]
        await put(client, *(changed(name, slow) for name in names))
        for name in names:
            await until_active(client, name)
        keys = [ObjectKey(UNIT_TYPE, "real", name).to_proto() for name in names]
        await client.delete(DeleteRequest(keys=keys))
        begun_s = time.monotonic()
        await put(client, sleeper("new"))
        await until_active(client, "new")
        assert time.monotonic() - begun_s < SOON_S
        assert len(list((cluster.node_directory(NODE) / "units").iterdir())) > HANGING, "they are stopping"

    on_cluster(tmp_path, body)


def test_starts_that_hang_hold_up_neither_new_units_nor_the_end(tmp_path: Path) -> None:
    """Programs that never say that they are ready, and a FIFO where a file is expected."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def hangs(unit: Unit) -> None:
        unit.service.type = Service.NOTIFY
        unit.service.time.start_timeout = 600
        unit.service.standard_output = f"file:{fifo}"

    def reads(unit: Unit) -> None:
        unit.service.environment_file.append(str(fifo))

    async def body(cluster: LocalCluster, client: Client) -> None:
        await put(client, *(changed(f"hangs{number}", hangs) for number in range(HANGING)))
        await put(client, changed("reads", reads))
        begun_s = time.monotonic()
        await put(client, sleeper("new"))
        await until_active(client, "new")
        assert time.monotonic() - begun_s < SOON_S

        async def told() -> bool:
            return str(fifo) in (await status_of(client, "reads")).message

        await until("the file that hangs is named", told)
        await client.delete(DeleteRequest(keys=[ObjectKey(UNIT_TYPE, "real", "reads").to_proto()]))
        reads_directory = cluster.node_directory(NODE) / "units" / "rube-real.reads.service"

        async def gone() -> bool:
            return not reads_directory.exists()

        await until("the unit is removed", gone)
        begun_s = time.monotonic()
        assert await cluster.rubelets[NODE].stop() == 0
        assert time.monotonic() - begun_s < SOON_S

    on_cluster(tmp_path, body)


def test_a_long_data_path_is_no_hindrance(tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 30)
    directory.mkdir()

    async def body(cluster: LocalCluster, client: Client) -> None:
        await put(client, sleeper("a"))
        await until_active(client, "a")
        socket = cluster.node_socket(NODE)
        assert len(str(socket)) > 108
        code, output = await run([*RUCTL, "--node-socket", str(socket), "get", "-t", "Unit", "a", "-o", "name"])
        assert (code, output) == (0, "api.systemd.Unit/real/a\n")

    on_cluster(directory, body)


def test_a_rubelet_takes_the_files_it_may_have_and_units_begin_with_the_usual_limit(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def body(cluster: LocalCluster, client: Client) -> None:
        await put(client, sleeper("a"))
        unit = await until_active(client, "a")
        assert resource.prlimit(cluster.rubelets[NODE].pid, resource.RLIMIT_NOFILE) == (hard, hard)
        assert resource.prlimit(unit.main_pid, resource.RLIMIT_NOFILE) == (min(1024, hard), hard)

    on_cluster(tmp_path, body)


def test_too_few_open_files_are_told_with_the_remedy(tmp_path: Path) -> None:
    limit = "import os, resource, sys; resource.setrlimit(7, (20, 20)); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", limit, *RUBELET, "--node", "a", "--data", f"{tmp_path}", "--driver", "supervisor"]
    code, output = asyncio.run(run(command))
    assert code == 1
    assert "this process may open only 20 files" in output
    assert "ulimit -n" in output.splitlines()[-1]


def test_a_full_disk_is_told_in_units_and_the_nodes_status_and_forgotten_once_there_is_room(tmp_path: Path) -> None:
    async def body(disk: Path) -> None:
        async with local_cluster(tmp_path) as cluster, client_of(cluster) as client:
            await cluster.start_rubelet(NODE)
            await put(client, sleeper("old"))
            before = await until_active(client, "old")
            other = take_all(disk)
            await put(client, sleeper("new"), sleeper("old", description="changed"))

            async def told() -> bool:
                said = [(await status_of(client, name)).message for name in ("new", "old")]
                problems = (await node_status(client, NODE)).problems
                return all("is full: free some space" in text for text in (*said, *problems)) and len(problems) == 1

            await until("the status names the full disk", told)
            assert (await status_of(client, "old")).main_pid == before.main_pid, "it goes on"
            other.unlink()
            await until_active(client, "new")
            await until_active(client, "old", but_not_pid=before.main_pid)

            async def forgotten() -> bool:
                said = [(await status_of(client, name)).message for name in ("new", "old")]
                return not any((*said, *(await node_status(client, NODE)).problems))

            await until("the status names it no more", forgotten)

    with mounted(tmp_path / NODE, 8) as disk:
        asyncio.run(body(disk))


def test_a_daemon_whose_files_are_used_up_says_so_with_the_remedy_and_serves_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with local_cluster(tmp_path) as cluster, client_of(cluster) as client:
            host, port = cluster.address.rsplit(":", 1)
            open_files = Path(f"/proc/{cluster.apiserver.pid}/fd")
            files = len(os.listdir(open_files)) + 40
            resource.prlimit(cluster.apiserver.pid, resource.RLIMIT_NOFILE, (files, files))
            connections = []

            async def connect() -> None:
                with suppress(OSError):  # while it serves again
                    connections.append(await asyncio.open_connection(host, int(port)))

            async def nearly_used_up() -> bool:
                if len(os.listdir(open_files)) < files - 5:
                    await connect()
                    return False
                return True

            await until("nearly all files are open", nearly_used_up)

            async def said() -> bool:
                line = f"nearly all of the {files} files that this process may open are open"
                return any(
                    line in text and "ulimit -n" in text for text in cluster.apiserver.log.read_text().split("\n")
                )

            await until("the log says so", said)
            for _ in range(20):
                await connect()
            for _, writer in connections:
                writer.close()
            await put(client, sleeper("a"))

    asyncio.run(main())
