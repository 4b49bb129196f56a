"""rube.testing as users use it: tests of the suite that are simulated themselves, and a project of its own."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rube.api import Unit
from rube.api.errors import InvalidArgumentError
from rube.sim.scenario import default_unit
from rube.testing import AsyncCluster, Cluster, simulate
from tests.pushed_types import backup, backup_type

PROJECT = """
import asyncio
import logging
import pytest
from rube.sim.scenario import default_unit
from rube.testing import AsyncCluster, Cluster, simulate

@pytest.fixture
def told(cluster):
    yield
    with open("hashes", "a") as file:
        file.write(f"{cluster.seed} {cluster.trace_sha256}\\n")

@pytest.mark.usefixtures("told")
@simulate(seeds=[3, 4], nodes=2)
def test_plain(cluster: Cluster):
    cluster.put(default_unit(), name="web")
    cluster.kill("worker-1", for_s=2)
    cluster.eventually(lambda: cluster.unit("web") == "active")
    assert "web" in cluster.ructl("list -t Unit").check()

@pytest.mark.usefixtures("told")
@simulate(seeds=[5], nodes=2, tie_break=True)
async def test_awaiting(cluster: AsyncCluster):
    await asyncio.gather(*(cluster.put(default_unit(), name=f"web-{i}") for i in range(3)))
    await cluster.ructl("delete -t Unit web-1")
    await asyncio.sleep(30)

def test_that_needs_no_cluster_has_its_log():
    assert logging.getLogger("rube").level == logging.NOTSET

@pytest.mark.usefixtures("told")
@simulate(seeds=[6], nodes=1)
def test_wrong(cluster: Cluster):
    cluster.put(default_unit(), name="web")
    cluster.cut("worker-1")
    cluster.eventually(lambda: cluster.unit("web") == "failed", within=5)
"""


def _tried(directory: Path, *options: str, hash_seed: str) -> tuple[list[str], str]:
    """Returns the sorted lines of hashes of a run of the project, and what pytest printed."""
    hashes = directory / "hashes"
    hashes.unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    ran = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    return sorted(hashes.read_text().splitlines()), ran.stdout


def test_a_project_gets_one_hash_for_a_seed_and_a_failure_tells_how_to_repeat_it(tmp_path: Path) -> None:
    (tmp_path / "test_project.py").write_text(PROJECT)
    hashes, out = _tried(tmp_path, hash_seed="1")
    assert [line.split()[0] for line in hashes] == ["3", "4", "5", "6"]
    assert "4 passed" in out
    assert "1 failed" in out
    assert "put api.systemd.Unit/default/web" in out
    assert "cut off worker-1" in out
    assert "repeat: python -m pytest 'test_project.py::test_wrong[seed=6]'\n" in out
    _, of_one_seed = _tried(tmp_path, "-k", "test_wrong", "--rube-seeds", "9", hash_seed="1")
    assert "repeat: python -m pytest 'test_project.py::test_wrong[seed=9]' --rube-seeds 9\n" in of_one_seed
    assert re.search(r"seed 6, at 5\.\d+s of virtual time; trace sha256 [0-9a-f]{64}", out)
    assert "not true within 5 s" in out
    spread, _ = _tried(tmp_path, "-n", "2", "-p", "no:randomly", "-p", "no:terminalreporter", hash_seed="2")
    assert spread == hashes


@simulate(seeds=2, nodes=2, types=[backup_type()])
def test_the_real_ructl_speaks_with_the_simulated_cluster(cluster: Cluster) -> None:
    text = """metadata { namespace: "default" name: "web" }
              spec { [rube/api.systemd.Unit] { service { exec { start: "sleep 9" } } } }"""
    assert cluster.ructl("put -", input=text).check().startswith("created default/web revision ")
    assert cluster.ructl("wait -t Unit web --for active").code == 0
    cluster.put(backup("nightly", target="/mnt"))
    assert "nightly" in cluster.ructl("list -t acme.Backup").check()
    late = cluster.ructl("wait -t Unit web --for deleted --within 20")
    assert (late.code, "waited 20 s" in late.err) == (3, True)
    began_s = cluster.now_s
    watched = cluster.ructl("watch -t Unit -o name", stop_after=7)
    assert watched.out == "update api.systemd.Unit/default/web\n"
    assert 7 <= cluster.now_s - began_s < 7.1
    cluster.kill("api-1")
    failed = cluster.ructl("get -t Unit web --timeout 3")
    assert (failed.code, failed.out) == (1, "")
    assert "no server answers at api-1:7823" in failed.err
    with pytest.raises(AssertionError, match="`ructl get -t Unit web` ended with 1: ructl: no server answers"):
        cluster.ructl("get -t Unit web").check()


@simulate(apiservers=3, nodes=1)
def test_a_replicated_store_has_a_leader_to_strike(cluster: Cluster) -> None:
    first = cluster.leader
    cluster.put(default_unit(), name="web")
    cluster.kill("leader")
    second = cluster.eventually(lambda: cluster.leader)
    assert second != first
    found = cluster.get(Unit, "web")
    assert found is not None
    assert cluster.spec(found) == default_unit()


@simulate(nodes=1)
async def test_a_coroutine_is_in_the_world_and_time_is_virtual(cluster: AsyncCluster) -> None:
    await asyncio.gather(*(cluster.put(default_unit(), name=f"web-{number}") for number in range(3)))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(300):
            await asyncio.sleep(700)
    assert 300 < cluster.now_s < 310
    cluster.crash_unit("web-1")
    assert await cluster.eventually(lambda: cluster.starts("web-1") == 2)
    assert len(await cluster.list("Unit")) == 3
    await cluster.delete("Unit", "web-1")
    assert "web-0" in (await cluster.ructl("list -t Unit")).check()


@simulate(nodes=1)
def test_a_wrong_name_gets_a_suggestion(cluster: Cluster) -> None:
    with pytest.raises(InvalidArgumentError, match="there is no host 'workr-1'; did you mean 'worker-1'"):
        cluster.kill("workr-1")
    with pytest.raises(InvalidArgumentError, match=r"'Unti' is no type of this cluster.*did you mean 'Unit'"):
        cluster.list("Unti")
    with pytest.raises(InvalidArgumentError, match="'ful' is no fault of a disk; did you mean 'full'"):
        cluster.disk("api-1", "ful")
    with pytest.raises(InvalidArgumentError, match="has no name"):
        cluster.put(Unit())
