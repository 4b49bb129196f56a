"""The weight of the daemons: `pytest bench/test_memory.py -s`. Resident memory of real processes, from /proc."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from rube.api import Metadata, Object, PutRequest, Unit
from rube.cli.local import LocalCluster, local_cluster
from rube.cli.real_host import real_host
from rube.client import Client

OBJECTS = 50_000
OBJECTS_A_PUT = 100
OBJECT_BYTES = 1024
UNITS_OF_A_NODE = 20


def resident_mb(pid: int) -> float:
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


def unit(number: int, *, node: str) -> Object:
    """A unit of about 1 KiB."""
    spec = Unit(description="x" * (OBJECT_BYTES - 120), state=Unit.STOPPED)
    spec.service.exec.start.append("/bin/true")
    obj = Object(metadata=Metadata(namespace="bench", name=f"unit-{number}"))
    obj.metadata.labels["node"] = node
    obj.spec.Pack(spec, "rube/")
    return obj


@asynccontextmanager
async def cluster_and_client(directory: Path) -> AsyncIterator[tuple[LocalCluster, Client]]:
    async with local_cluster(directory) as cluster, Client(real_host(), [cluster.address]) as client:
        yield cluster, client


@pytest.mark.parametrize("node", ["elsewhere", ""], ids=["bound", "unbound"])
def test_apiserver_with_50_000_objects(benchmark: BenchmarkFixture, tmp_path: Path, node: str) -> None:
    """Bound to a node, or waiting for one: then the placement controller in the same process holds a copy of all."""

    async def main() -> float:
        async with cluster_and_client(tmp_path) as (cluster, client):
            for first in range(0, OBJECTS, OBJECTS_A_PUT):
                objects = [unit(number, node=node) for number in range(first, first + OBJECTS_A_PUT)]
                await client.put(PutRequest(objects=objects))
            return resident_mb(cluster.apiserver.pid)

    resident = benchmark.pedantic(lambda: asyncio.run(main()), rounds=1)
    benchmark.extra_info["resident_mb"] = round(resident)
    print(f"\napiserver with {OBJECTS:,} objects of 1 KiB, node {node!r}: {resident:.0f} MB resident")


def test_rubelet_with_20_units(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    async def main() -> float:
        async with cluster_and_client(tmp_path) as (cluster, client):
            rubelet = await cluster.start_rubelet("worker-1")
            objects = [unit(number, node="worker-1") for number in range(UNITS_OF_A_NODE)]
            await client.put(PutRequest(objects=objects))
            await asyncio.sleep(3)
            return resident_mb(rubelet.pid)

    resident = benchmark.pedantic(lambda: asyncio.run(main()), rounds=1)
    benchmark.extra_info["resident_mb"] = round(resident)
    print(f"\nrubelet with {UNITS_OF_A_NODE} units: {resident:.0f} MB resident")
