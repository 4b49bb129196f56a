"""`rube store` as processes: beside a busy apiserver, killed and interrupted, and given what is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import random
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from rube.cli.local import APISERVER, RUCTL, LocalCluster, run
from rube.cli.real_host import real_host
from rube.store import Op, Txn, open_store, parse_store_url
from rube.store.backends import backend_of
from tests.real.cluster_calls import check, client_of, put, sleeper
from tests.real.test_bad_disks import small_disk

STORE = (*APISERVER[:-1], "store")
KINDS = ["sqlite", "rocksdb"]


def url_of(kind: str, path: Path) -> str:
    return f"{kind}:///{path}"


@asynccontextmanager
async def serving(directory: Path, url: str) -> AsyncIterator[LocalCluster]:
    cluster = LocalCluster(directory)
    cluster.apiserver.argv[cluster.apiserver.argv.index("--store") + 1] = url
    try:
        await cluster.start_apiserver()
        yield cluster
    finally:
        await cluster.stop()


async def listed(cluster: LocalCluster) -> str:
    """The output of ructl for all units."""
    code, output = await run([*RUCTL, "--server", cluster.address, "list", "-t", "api.systemd.Unit", "-o", "textproto"])
    assert code == 0, output
    return output


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_of_a_busy_apiserver_is_served_again_as_it_was(kind: str, tmp_path: Path) -> None:
    """Pairs are put together and counted up: a backup that is not of one revision would hold halves."""
    url, copy, file = url_of(kind, tmp_path / "store"), url_of(kind, tmp_path / "copy"), str(tmp_path / "backup.rube")

    async def main() -> None:
        async with serving(tmp_path, url) as cluster, client_of(cluster) as client:
            await asyncio.gather(*(put(client, sleeper(f"still-{number}")) for number in range(20)))

            async def count() -> None:
                for number in range(1_000_000):
                    await put(client, *(sleeper(name, description=str(number)) for name in ("left", "right")))

            counting = asyncio.ensure_future(count())
            while client.revision < 40:
                await asyncio.sleep(0.01)
            check(await run([*STORE, "backup", url, file]), 0, r"\d+ objects of store \w+ at revision \d+, .* KiB")
            check(await run([*STORE, "verify", url]), 0, r"records read, no damage")
            code, output = await run([*STORE, "stat", "--json", url])
            assert code == 0
            assert json.loads(output)["keys"] > 22
            check(await run([*STORE, "compact", url]), 1, r"in use by another process.*--history")
            counting.cancel()
            with suppress(asyncio.CancelledError):
                await counting
            before = await listed(cluster)
        check(
            await run([*STORE, "restore", file, copy]),
            0,
            r"new store \w+, \d+ objects of store \w+ at its revision \d+",
        )
        async with serving(tmp_path, copy) as cluster:
            after = await listed(cluster)
        assert sorted(re.findall(r'name: "(.*)"', after)) == sorted(re.findall(r'name: "(.*)"', before))
        descriptions = [number for number in re.findall(r'description: "(\d*)"', after) if number]
        assert len(descriptions) == 2
        assert len(set(descriptions)) == 1

    asyncio.run(main())


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the backup of a store that takes a moment to copy, and that store."""
    directory = tmp_path_factory.mktemp("big")

    async def main() -> None:
        store = await open_store(real_host(), url_of("sqlite", directory / "store"))
        for number in range(100):
            await store.commit(Txn(tuple(Op(b"%d/%d" % (number, place), b"x" * 1000) for place in range(100))))
        await store.close()

    asyncio.run(main())
    subprocess.run(
        [*STORE, "backup", url_of("sqlite", directory / "store"), directory / "backup.rube"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return directory


def start(*argv: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen([*STORE, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists() and process.poll() is None:
        time.sleep(0.002)


@pytest.mark.parametrize("kind", KINDS)
def test_a_restore_that_is_killed_leaves_no_store_and_can_be_run_again(kind: str, big: Path, tmp_path: Path) -> None:
    url, backup = url_of(kind, tmp_path / "copy"), (big / "backup.rube").read_bytes()
    chance = random.Random(kind)
    for _ in range(2):
        process = subprocess.Popen([*STORE, "restore", "-", url], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert process.stdin is not None
        process.stdin.write(backup[: chance.randrange(len(backup) // 8, len(backup))])
        process.stdin.flush()  # returns when all but a pipe's worth of it was read
        process.kill()
        process.wait()
        process.stdin.close()
        assert asyncio.run(keys_of(url)) == "refused"
    check(asyncio.run(run([*STORE, "restore", str(big / "backup.rube"), url])), 0, "10000 objects")
    assert asyncio.run(keys_of(url)) == 10_000


async def keys_of(url: str) -> int | str:
    """The number of objects; or the note that the store refuses to open, or that there is none."""
    parsed = parse_store_url(url)
    try:
        return (await backend_of(parsed).stat(real_host(), parsed)).keys
    except Exception as error:
        return "refused" if "run `rube store restore`" in str(error) else "nothing" if "no store" in str(error) else "?"


def test_a_backup_that_is_killed_leaves_no_file_of_its_name(big: Path, tmp_path: Path) -> None:
    file, partial = tmp_path / "new.rube", tmp_path / "new.rube.partial"
    process = start("backup", url_of("sqlite", big / "store"), file)
    wait_for(partial, process)
    process.kill()
    process.communicate()
    assert not file.exists()
    check(asyncio.run(run([*STORE, "backup", url_of("sqlite", big / "store"), str(file)])), 0, "10000 objects")
    assert not partial.exists()
    assert file.read_bytes() == (big / "backup.rube").read_bytes(), "the same state gives the same bytes"


def test_an_interrupted_restore_says_what_is_left(big: Path, tmp_path: Path) -> None:
    url = url_of("sqlite", tmp_path / "copy")
    process = start("restore", big / "backup.rube", url)
    wait_for(tmp_path / "copy", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.strip() == (f"rube store restore: interrupted: {url} refuses to open until a restore has succeeded")


@pytest.mark.parametrize("command", ["restore", "verify"])
def test_a_signal_is_heard_while_nothing_comes_through_the_pipe(big: Path, tmp_path: Path, command: str) -> None:
    url = url_of("sqlite", tmp_path / "copy")
    argv = [*STORE, command, "-", *([url] if command == "restore" else [])]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    with (big / "backup.rube").open("rb") as backup:
        process.stdin.write(backup.read(300_000))
    process.stdin.flush()  # returns when all but a pipe's worth of it was read
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 1
    _, errors = process.communicate()
    left = "it was not read to its end" if command == "verify" else f"{url} refuses to open until"
    assert errors.decode().startswith(f"rube store {command}: interrupted: {left}")


def test_a_pipe_whose_reader_is_gone_is_named(big: Path) -> None:
    process = start("backup", url_of("sqlite", big / "store"), "-")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as errors:
        assert errors.read().startswith("rube store backup: stdout takes no more of the backup (Broken pipe)")
    assert process.wait() == 1


def test_a_backup_goes_through_a_pipe(big: Path, tmp_path: Path) -> None:
    url, copy = url_of("sqlite", big / "store"), url_of("rocksdb", tmp_path / "copy")
    backup = subprocess.run([*STORE, "backup", url, "-"], capture_output=True, check=True)
    assert b"-: 10000 objects" in backup.stderr
    assert backup.stdout == (big / "backup.rube").read_bytes()
    restored = subprocess.run([*STORE, "restore", "-", copy], input=backup.stdout, capture_output=True, check=True)
    assert b"10000 objects" in restored.stdout


def test_damage_is_named_a_line_each_and_ends_with_exit_code_1(big: Path, tmp_path: Path) -> None:
    damaged = bytearray((big / "backup.rube").read_bytes())
    for key in (b"1/1", b"99/42"):
        damaged[damaged.index(b"\x0a%c%b\x12" % (len(key), key)) + 20] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    code, output = asyncio.run(run([*STORE, "verify", str(tmp_path / "damaged")]))
    assert code == 1
    lines = output.splitlines()
    assert re.findall(r"key (.*): does not match its checksum", "\n".join(lines[:-1])) == [
        "b'1/1'",
        "b'99/42'",
    ]
    assert "9998 sound records" in lines[-1]
    assert "2 damaged" in lines[-1]


def test_what_is_wrong_is_said_in_one_line_with_the_remedy(big: Path, tmp_path: Path) -> None:
    store, file, none = url_of("sqlite", big / "store"), str(big / "backup.rube"), url_of("sqlite", tmp_path / "none")
    wrong = (
        (("backup", none, str(tmp_path / "x")), r"there is no store at .*none: check the path"),
        (("backup", store, file), r"backup\.rube exists already: name a new file"),
        (("backup", store, "/nowhere/x"), r"/nowhere/x cannot be written \(No such file or directory\)"),
        (("restore", file, store), r"store holds a store already: move it away"),
        (("restore", str(tmp_path / "x"), none), r"x cannot be read \(No such file or directory\): name a file that"),
        (("restore", str(big / "store"), none), r"store is no backup: name a file that `rube store backup` wrote"),
        (("migrate", store, store), r"store holds a store already"),
        (("compact", none), r"there is no store"),
        (("compact", f"raft+{store}?name=a&listen=127.0.0.1:1"), r"store\S* belongs to a group, which compacts itself"),
        (("compact", store, "--revision", "1000"), r"revision 1000 is ahead of the store, which is at 100"),
    )

    async def main() -> None:
        for argv, pattern in wrong:
            check(await run([*STORE, *argv]), 1, rf"rube store {argv[0]}: .*{pattern}")

    asyncio.run(main())
    assert not any(tmp_path.iterdir())


def test_a_group_that_holds_nothing_yet_is_told_from_no_store(tmp_path: Path) -> None:
    member = f"raft+{url_of('sqlite', tmp_path / 'member')}?name=a&listen=127.0.0.1:0&members=a=127.0.0.1:1"

    async def main() -> None:
        store = await open_store(real_host(), member)
        await store.close()
        for argv in (("stat", member), ("backup", member, str(tmp_path / "x"))):
            check(await run([*STORE, *argv]), 1, r"is a member of a replicated store that holds nothing yet")

    asyncio.run(main())


def test_a_full_disk_is_named_and_leaves_nothing_that_could_be_taken_for_whole(big: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4) as disk:
        file, copy = str(disk / "new.rube"), url_of("sqlite", disk / "copy")
        outcome = asyncio.run(run([*STORE, "backup", url_of("sqlite", big / "store"), file]))
        check(outcome, 1, r"new\.rube cannot be written \(No space left on device\): free some space")
        assert not any(disk.iterdir())
        outcome = asyncio.run(run([*STORE, "restore", str(big / "backup.rube"), copy]))
        check(outcome, 1, r"the disk that holds .*copy is full: free some space")
        assert asyncio.run(keys_of(copy)) == "refused"
        server = (*APISERVER, "--store", copy, "--listen", "127.0.0.1:0")
        check(asyncio.run(run(server)), 1, rf"rube apiserver: {copy}: the store is the beginning of a copy")


def test_a_terminal_shows_a_bar(big: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            [*STORE, "restore", big / "backup.rube", url_of("sqlite", tmp_path / "copy")],
            stdout=subprocess.PIPE,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # how a terminal says that its other side is gone
            while piece := terminal.read(4096):
                shown += piece
        output, _ = process.communicate()
    assert process.returncode == 0
    assert re.search(rb"rube store restore.*\d+%.*MiB", shown), shown
    assert b"10000 objects" in output
