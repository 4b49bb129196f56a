"""Syncs and writes that fail, in real daemons: strace makes their system calls return what a bad disk returns.

And a file system that the kernel has turned read-only, as ext4 does after an error.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rube.api import ListRequest
from rube.api.errors import DataLossError
from rube.cli.local import LocalCluster, local_cluster, run
from rube.cli.real_host import real_host
from rube.client import Client, ClientConfig
from tests.real.cluster_calls import UNIT_TYPE, client_of, put, sleeper, status_of, until_active

EIO_ON_READ = "pread64:error=EIO"
EIO_ON_SYNC = "fsync,fdatasync:error=EIO"
READ_ONLY = "read-only"
FAILURES = {
    "sqlite, EIO on sync": ("sqlite", EIO_ON_SYNC),
    "rocksdb, EIO on sync": ("rocksdb", EIO_ON_SYNC),
    "sqlite, EIO on write": ("sqlite", "pwrite64:error=EIO"),
    "sqlite, a quota that is used up": ("sqlite", "pwrite64:error=EDQUOT"),
    "rocksdb, EIO on write": ("rocksdb", "write:error=EIO"),
    "sqlite, a disk that turned read-only": ("sqlite", READ_ONLY),
    "rocksdb, a disk that turned read-only": ("rocksdb", READ_ONLY),
}
DISK_BYTES = 64 * 1024 * 1024


@contextmanager
def ext4(directory: Path) -> Iterator[None]:
    """A file system of its own: tmpfs cannot be turned read-only while something is open on it."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("mounts an ext4 file system: run as root, with e2fsprogs")
    image = directory.with_suffix(".ext4")
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, directory], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"needs a loop device: {mounted.stderr}")
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


@asynccontextmanager
async def read_only(directory: Path) -> AsyncIterator[None]:
    """Makes the file system read-only, as after an error of the disk, until it is mounted anew."""
    assert await run(["mount", "-o", "remount,abort", str(directory)]) == (0, "")
    yield
    assert await run(["umount", str(directory)]) == (0, "")
    assert await run(["mount", "-o", "loop", str(directory.with_suffix(".ext4")), str(directory)]) == (0, "")


@asynccontextmanager
async def failing_calls(pid: int, directory: Path, injection: str) -> AsyncIterator[None]:
    """Every such call on a file below `directory` fails, in all threads of that process."""
    if shutil.which("strace") is None:
        pytest.skip("makes system calls fail: apt-get install strace")
    if os.geteuid() != 0:
        pytest.skip("attaches strace to a process: run as root")
    calls = injection.partition(":")[0]
    paths = [part for path in sorted(directory.rglob("*")) if path.is_file() for part in ("-P", str(path))]
    argv = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={injection}", *paths]
    strace = await asyncio.create_subprocess_exec(*argv, "-p", str(pid), stderr=asyncio.subprocess.PIPE)
    assert strace.stderr is not None
    try:
        async with asyncio.timeout(10):
            while b"attached" not in (line := await strace.stderr.readline()):
                assert line, "strace ended without attaching"
        yield
    finally:
        if strace.returncode is None:
            strace.terminate()
        await strace.communicate()


async def health_of(cluster: LocalCluster) -> list[int]:
    """The health that the server reports until it is gone."""
    seen = []
    async with grpc.aio.insecure_channel(cluster.address) as channel:
        try:
            async for answer in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
                seen.append(answer.status)
        except grpc.aio.AioRpcError:
            pass
    return seen


@pytest.mark.parametrize("failure", FAILURES)
def test_an_apiserver_whose_disk_fails_acknowledges_nothing_says_so_and_ends(tmp_path: Path, failure: str) -> None:
    scheme, injection = FAILURES[failure]

    async def main() -> None:
        data = tmp_path / "data"
        data.mkdir()
        stack.enter_context(ext4(data) if injection == READ_ONLY else nullcontext())
        store = f"{scheme}:///{data / 'store'}"
        args = ("--store", store, "--controllers", "")
        async with local_cluster(tmp_path, apiserver_args=args) as cluster, client_of(cluster) as client:
            acknowledged = [await put(client, sleeper(f"u{number}")) for number in range(5)]
            health = asyncio.create_task(health_of(cluster))
            await asyncio.sleep(0.2)
            pid = cluster.apiserver.pid
            async with read_only(data) if injection == READ_ONLY else failing_calls(pid, data, injection):
                async with Client(real_host(), [cluster.address], ClientConfig(retries_max=0)) as once:
                    with pytest.raises(
                        DataLossError,
                        match=rf"{data}/store.*restart: what was acknowledged is on it; the write that failed may",
                    ):
                        await put(once, sleeper("lost"))
                async with asyncio.timeout(15):
                    assert await cluster.apiserver.wait() == 1
            serving = health_pb2.HealthCheckResponse.ServingStatus
            assert await health == [serving.SERVING, serving.NOT_SERVING]
            last = cluster.apiserver.log.read_text().splitlines()[-1]
            assert re.fullmatch(
                rf"rube apiserver: {data}/store\S*: the disk failed .* Check the disk, then restart.*", last
            )
            assert "Traceback" not in cluster.apiserver.log.read_text()
            await cluster.start_apiserver()
            listed = await client.list_objects(ListRequest(type=UNIT_TYPE))
            found = {obj.metadata.name: obj.metadata.revision for obj in listed.items}
            assert [found[f"u{number}"] for number in range(5)] == acknowledged
            assert await put(client, sleeper("later")) > acknowledged[-1]

    with ExitStack() as stack:
        asyncio.run(main())


def test_an_apiserver_that_cannot_read_says_so_and_goes_on(tmp_path: Path) -> None:
    """Simulated: tests/simulation/test_disk_faults.py."""

    async def main() -> None:
        data = tmp_path / "data"
        data.mkdir()
        args = ("--store", f"sqlite:///{data / 'store'}", "--controllers", "")
        async with local_cluster(tmp_path, apiserver_args=args) as cluster, client_of(cluster) as client:
            for number in range(5):
                await put(client, sleeper(f"u{number}"))
            assert await cluster.apiserver.stop() == 0
            await cluster.start_apiserver()  # has nothing in its cache
            request = ListRequest(type=UNIT_TYPE)
            async with failing_calls(cluster.apiserver.pid, data, EIO_ON_READ):
                async with Client(real_host(), [cluster.address], ClientConfig(retries_max=0)) as once:
                    with pytest.raises(DataLossError, match=rf"{data}/store is damaged \(.* malformed"):
                        await once.list_objects(request)
            assert len((await client.list_objects(request)).items) == 5
            assert await put(client, sleeper("later"))
            assert cluster.apiserver.running

    asyncio.run(main())


def test_an_apiserver_that_cannot_read_its_store_when_it_starts_ends(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("makes system calls fail: apt-get install strace")
    store = tmp_path / "store"
    address = f"unix:{tmp_path}/socket"
    rube = [str(Path(sys.executable).with_name("rube")), "apiserver", "--listen", address, "--controllers", ""]
    inject = ["-e", "trace=pread64", "-e", f"inject={EIO_ON_READ}", "-P", str(store)]

    async def main() -> None:
        args = ("--store", f"sqlite:///{store}", "--controllers", "")
        async with local_cluster(tmp_path, apiserver_args=args) as cluster, client_of(cluster) as client:
            await put(client, sleeper("u"))

    asyncio.run(main())
    argv = ["strace", "-f", "-o", "/dev/null", *inject, *rube, "--store", f"sqlite:///{store}"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert re.fullmatch(rf"rube apiserver: {store}\S*: the disk failed \(.*\); .* Check the disk, then restart.*", last)
    assert "Traceback" not in ended.stderr


def test_a_rubelet_whose_disk_fails_ends_and_leaves_its_units_to_the_next_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with local_cluster(tmp_path) as cluster, client_of(cluster) as client:
            rubelet = await cluster.start_rubelet("node")
            await put(client, sleeper("before"))
            before = await until_active(client, "before")
            async with failing_calls(rubelet.pid, cluster.node_directory("node"), EIO_ON_SYNC):
                await put(client, sleeper("meanwhile"))
                async with asyncio.timeout(15):
                    assert await rubelet.wait() == 1
            last = rubelet.log.read_text().splitlines()[-1]
            assert re.fullmatch(r"rubelet: \S*rubelet\.db\S*: the disk failed .* Check the disk, then restart.*", last)
            assert "Traceback" not in rubelet.log.read_text()
            await cluster.start_rubelet("node")
            await until_active(client, "meanwhile")
            assert (await status_of(client, "before")).main_pid == before.main_pid

    asyncio.run(main())
