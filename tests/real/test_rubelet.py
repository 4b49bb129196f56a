"""A real rubelet with its supervisor: killed, cut off, started without an apiserver, beside one of its name."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from rube.api import DeleteRequest
from rube.api.keys import ObjectKey
from rube.cli.local import RUCTL, LocalCluster, local_cluster, run
from rube.client import Client
from tests.real.cluster_calls import UNIT_TYPE, client_of, node_status, put, sleeper, status_of, until, until_active
from tests.real.supervisor_bench import is_alive

NODE = "worker-1"


def on_cluster(directory: Path, body: Callable[[LocalCluster, Client], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with local_cluster(directory) as cluster, client_of(cluster) as client:
            await cluster.start_rubelet(NODE)
            await body(cluster, client)

    asyncio.run(main())


def test_a_unit_runs_is_reported_changed_and_removed(tmp_path: Path) -> None:
    async def body(cluster: LocalCluster, client: Client) -> None:
        await put(client, sleeper("a"))
        first = await until_active(client, "a")
        assert is_alive(first.main_pid)
        assert first.node == NODE
        await put(client, sleeper("a", description="another definition"))
        second = await until_active(client, "a", but_not_pid=first.main_pid)
        assert not is_alive(first.main_pid)
        assert second.observed_generation == 2
        await client.delete(DeleteRequest(keys=[ObjectKey(UNIT_TYPE, "real", "a").to_proto()]))

        async def gone() -> bool:
            return not is_alive(second.main_pid)

        await until("the process is gone", gone)

    on_cluster(tmp_path, body)


def test_units_outlive_kill_9_of_the_rubelet_and_are_adopted_with_their_exit_status(tmp_path: Path) -> None:
    async def body(cluster: LocalCluster, client: Client) -> None:
        await put(client, sleeper("stays"), sleeper("dies", restart_s=600))
        stays, dies = await until_active(client, "stays"), await until_active(client, "dies")
        await cluster.rubelets[NODE].kill()
        assert is_alive(stays.main_pid)
        os.kill(dies.main_pid, signal.SIGABRT)
        await cluster.start_rubelet(NODE)

        async def reported() -> bool:
            return (await status_of(client, "dies")).exit_status == signal.SIGABRT

        await until("what happened meanwhile is reported", reported)
        assert (await status_of(client, "dies")).sub_state == "auto-restart"
        assert (await status_of(client, "stays")).main_pid == stays.main_pid, "adopted, not restarted"
        assert is_alive(stays.main_pid)

    on_cluster(tmp_path, body)


def test_damaged_files_of_units_are_those_units_trouble_and_no_rubelets_end(tmp_path: Path) -> None:
    async def body(cluster: LocalCluster, client: Client) -> None:
        await put(client, sleeper("whole"), sleeper("empty"), sleeper("lost"))
        before = {name: (await until_active(client, name)).main_pid for name in ("whole", "empty", "lost")}
        await cluster.rubelets[NODE].kill()
        units = cluster.node_directory(NODE) / "units"
        (units / "rube-real.empty.service" / "state.json").write_text("{}")
        lost = units / "rube-real.lost.service"
        shim = json.loads((lost / "state.json").read_text())["shim"][0]
        os.kill(shim, signal.SIGKILL)
        (lost / "state.json").unlink()
        (lost / "state.json").mkdir()
        await cluster.start_rubelet(NODE)

        async def said() -> bool:
            return "state.json" in (await status_of(client, "lost")).message

        await until("what cannot be read is said in the unit's status", said)
        for name in ("whole", "empty"):
            assert (await until_active(client, name)).main_pid == before[name], "adopted, not restarted"
        (lost / "state.json").rmdir()
        await put(client, sleeper("lost", description="once more"))
        after = await until_active(client, "lost", but_not_pid=before["lost"])
        assert not is_alive(before["lost"])
        assert is_alive(after.main_pid)

    on_cluster(tmp_path, body)


def test_deleted_units_whose_records_cannot_be_read_are_removed_or_told_by_their_node(tmp_path: Path) -> None:
    async def body(cluster: LocalCluster, client: Client) -> None:
        await put(client, sleeper("broken"), sleeper("later"))
        before = {name: (await until_active(client, name)).main_pid for name in ("broken", "later")}
        units = cluster.node_directory(NODE) / "units"
        broken, later = (units / f"rube-real.{name}.service" / "state.json" for name in ("broken", "later"))
        shim = json.loads(later.read_text())["shim"][0]
        os.kill(shim, signal.SIGSTOP)  # it hangs, and as one of a later release it is not killed
        later.write_text(json.dumps({**json.loads(later.read_text()), "format": 99}))
        broken.unlink()
        broken.mkdir()
        keys = [ObjectKey(UNIT_TYPE, "real", name).to_proto() for name in ("broken", "later")]
        await client.delete(DeleteRequest(keys=keys))

        async def told() -> bool:
            return any("format 99" in problem for problem in (await node_status(client, NODE)).problems)

        await until("the node tells of the unit that it cannot read", told)
        (problem,) = [problem for problem in (await node_status(client, NODE)).problems if "format 99" in problem]
        assert problem.startswith("unit real/later was deleted and cannot be removed: ")
        assert f"{later}: format 99 is of a later Rube" in problem
        code, output = await run([*RUCTL, "--server", cluster.address, "describe", "-t", "Node", NODE])
        assert (code, problem in output) == (0, True)

        async def removed() -> bool:
            return not (is_alive(before["broken"]) or broken.parent.exists())

        await until("the damaged one is removed", removed)
        os.kill(shim, signal.SIGCONT)

        async def all_is_well() -> bool:
            told = (await node_status(client, NODE)).problems
            return not (is_alive(before["later"]) or later.parent.exists() or told)

        await until("nothing is left, and no problem is named", all_is_well)

    on_cluster(tmp_path, body)


def test_a_rubelet_starts_its_units_without_an_apiserver(tmp_path: Path) -> None:
    async def body(cluster: LocalCluster, client: Client) -> None:
        await put(client, sleeper("a"))
        before = await until_active(client, "a")
        await cluster.rubelets[NODE].kill()
        await cluster.apiserver.kill()
        shim = parent_of(before.main_pid)
        os.kill(shim, signal.SIGKILL)
        os.kill(before.main_pid, signal.SIGKILL)
        await cluster.start_rubelet(NODE)

        async def active_again() -> bool:
            code, text = await run(
                [*RUCTL, "--node-socket", str(cluster.node_socket(NODE)), "get", "-t", UNIT_TYPE, "-n", "real", "a"]
            )
            return code == 0 and 'active_state: "active"' in text and f"main_pid: {before.main_pid}\n" not in text

        await until("the unit runs from the node's own copy", active_again)
        await cluster.start_apiserver()
        await until_active(client, "a", but_not_pid=before.main_pid)

    on_cluster(tmp_path, body)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_kill_9_of_the_rubelet_at_random_moments_loses_and_doubles_no_unit(tmp_path: Path) -> None:
    async def body(cluster: LocalCluster, client: Client) -> None:
        rng = random.Random(3)
        names = [f"u{number}" for number in range(6)]
        for round_ in range(4):
            await put(client, *(sleeper(name, description=f"round {round_}") for name in names))
            await asyncio.sleep(rng.uniform(0.0, 0.4))
            await cluster.rubelets[NODE].kill()
            await cluster.start_rubelet(NODE)
        statuses = {}
        for name in names:

            async def newest(name: str = name) -> bool:
                status = await status_of(client, name)
                return status.active_state == "active" and status.observed_generation == 4

            await until(f"{name} runs its newest definition", newest)
            statuses[name] = await status_of(client, name)
        pids = [status.main_pid for status in statuses.values()]
        assert len(set(pids)) == len(names)
        assert sorted(pids) == sorted(sleeping_below(tmp_path)), "one process a unit, and no other"

    on_cluster(tmp_path, body)


def sleeping_below(directory: Path) -> list[int]:
    """The processes `sleep 86400` whose parents are shims of this directory."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if not entry.name.isdigit() or (entry / "cmdline").read_bytes() != b"sleep\0" + b"86400\0":
                continue
            if str(directory).encode() in Path(f"/proc/{parent_of(int(entry.name))}/cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def test_a_second_rubelet_of_the_same_name_is_refused(tmp_path: Path) -> None:
    async def body(cluster: LocalCluster, client: Client) -> None:
        twin = LocalCluster(tmp_path / "twin")
        (tmp_path / "twin").mkdir()
        twin.address = cluster.address
        daemon = await twin.start_rubelet(NODE)
        assert await daemon.wait() == 1
        assert re.search(f"node name.*{NODE}.*is in use", daemon.log.read_text())
        await put(client, sleeper("a"))
        await until_active(client, "a")

    on_cluster(tmp_path, body)


def test_sigterm_ends_the_rubelet_and_leaves_its_units_running(tmp_path: Path) -> None:
    async def body(cluster: LocalCluster, client: Client) -> None:
        await put(client, sleeper("a"))
        status = await until_active(client, "a")
        assert await cluster.rubelets[NODE].stop() == 0
        assert is_alive(status.main_pid)

    on_cluster(tmp_path, body)
