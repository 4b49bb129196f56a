"""One process for one store's files, whatever the names are by which they are found."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rube.api.errors import FailedPreconditionError
from rube.host import Write
from rube.store import RealStorage
from rube.store.engines import sqlite_lock

HOLDER = """
import asyncio, sys
from rube.store import RealStorage
async def main():
    engine = await RealStorage().open(sys.argv[1])
    print("open", flush=True)
    sys.stdin.read()
    await engine.close()
asyncio.run(main())
"""
"""Opens the store named, says so, and holds it until it is ended."""


@contextmanager
def held(url: str) -> Iterator[None]:
    """Opens it in another process."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"open\n"
        yield
    finally:
        process.communicate()


async def commit(url: str, key: bytes) -> None:
    engine = await RealStorage().open(url)
    await engine.commit([Write(key, b"")])
    await engine.close()


async def keys_in(url: str, *, read_only: bool = False) -> list[bytes]:
    engine = await RealStorage().open(url, read_only=read_only)
    try:
        return [key for key, _ in engine.scan(b"", b"\xff")]
    finally:
        await engine.close()


@pytest.mark.parametrize("kind", ["sqlite", "rocksdb"])
@pytest.mark.parametrize("of", ["store", "directory"])
def test_a_symbolic_link_is_the_store_that_it_leads_to(tmp_path: Path, kind: str, of: str) -> None:
    (tmp_path / "real").mkdir()
    real, alias = tmp_path / "real" / "store", tmp_path / "alias"
    asyncio.run(commit(f"{kind}:///{real}", b"a"))
    alias.symlink_to(real if of == "store" else real.parent)
    by_alias = f"{kind}:///{alias if of == 'store' else alias / 'store'}"
    with held(f"{kind}:///{real}"), pytest.raises(FailedPreconditionError, match="in use by another process"):
        asyncio.run(commit(by_alias, b"lost"))
    with held(by_alias), pytest.raises(FailedPreconditionError, match="in use by another process"):
        asyncio.run(commit(f"{kind}:///{real}", b"lost"))
    asyncio.run(commit(by_alias, b"b"))
    assert asyncio.run(keys_in(f"{kind}:///{real}")) == [b"a", b"b"]
    assert asyncio.run(keys_in(by_alias, read_only=True)) == [b"a", b"b"]
    assert not list(tmp_path.glob("alias-*")), "its log is beside the store, not beside the link"


@pytest.mark.parametrize("kind", ["sqlite", "rocksdb"])
def test_one_process_opens_a_store_once_by_whatever_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / "alias").symlink_to(tmp_path / "store")

    async def main() -> None:
        engine = await RealStorage().open(f"{kind}:///{tmp_path}/store")
        with pytest.raises(FailedPreconditionError, match="in use"):
            await RealStorage().open(f"{kind}:///{tmp_path}/alias")
        await engine.commit([Write(b"a", b"")])
        await engine.close()

    asyncio.run(main())
    assert asyncio.run(keys_in(f"{kind}:///{tmp_path}/alias")) == [b"a"]


def test_a_hard_link_is_refused_with_the_remedy(tmp_path: Path) -> None:
    asyncio.run(commit(f"sqlite:///{tmp_path}/a.db", b"a"))
    os.link(tmp_path / "a.db", tmp_path / "b.db")
    for name in ("a.db", "b.db"):
        for read_only in (False, True):
            with pytest.raises(FailedPreconditionError, match=r"has 2 names .*find DIR -samefile"):
                asyncio.run(keys_in(f"sqlite:///{tmp_path}/{name}", read_only=read_only))
    (tmp_path / "b.db").unlink()
    assert asyncio.run(keys_in(f"sqlite:///{tmp_path}/a.db")) == [b"a"]


def test_the_lock_is_on_the_file_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform on which neither links nor mounts can be read."""
    monkeypatch.setattr(sqlite_lock, "_check_alone", lambda path: None)
    asyncio.run(commit(f"sqlite:///{tmp_path}/a.db", b"a"))
    with held(f"sqlite:///{tmp_path}/a.db"):
        os.link(tmp_path / "a.db", tmp_path / "b.db")
        with pytest.raises(FailedPreconditionError, match=r"in use by another process, by another name"):
            asyncio.run(commit(f"sqlite:///{tmp_path}/b.db", b"lost"))


def test_a_file_that_is_mounted_by_itself_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounts a file: run as root")
    asyncio.run(commit(f"sqlite:///{tmp_path}/a.db", b"a"))
    other = tmp_path / "a b.db"
    other.touch()
    subprocess.run(["mount", "--bind", tmp_path / "a.db", other], check=True)
    try:
        with held(f"sqlite:///{tmp_path}/a.db"), pytest.raises(FailedPreconditionError, match=r"mount the directory"):
            asyncio.run(commit(f"sqlite:///{other}", b"lost"))
    finally:
        subprocess.run(["umount", other], check=True)


@pytest.mark.parametrize("kind", ["sqlite", "rocksdb"])
def test_a_directory_that_is_mounted_twice_holds_one_store(tmp_path: Path, kind: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounts a directory: run as root")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    subprocess.run(["mount", "--bind", tmp_path / "a", tmp_path / "b"], check=True)
    try:
        with held(f"{kind}:///{tmp_path}/a/store"), pytest.raises(FailedPreconditionError, match="in use"):
            asyncio.run(commit(f"{kind}:///{tmp_path}/b/store", b"lost"))
        asyncio.run(commit(f"{kind}:///{tmp_path}/b/store", b"a"))
        assert asyncio.run(keys_in(f"{kind}:///{tmp_path}/a/store")) == [b"a"]
    finally:
        subprocess.run(["umount", tmp_path / "b"], check=True)


def test_a_circle_of_links_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for kind in ("sqlite", "rocksdb"):
        with pytest.raises(FailedPreconditionError, match="cannot be"):
            asyncio.run(keys_in(f"{kind}:///{tmp_path}/a"))
