"""A node controller of the user's own in the shipped rubelet: `rubelet --controllers files:files`."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from rube.api import DeleteRequest, GetRequest, Object, PutRequest
from rube.api.keys import key_of
from rube.api.textproto import parse_documents
from rube.api.types import BUILTIN
from rube.api.types.protos import checked_types
from rube.api.types.pushed import kind_from
from rube.cli.local import RUBELET, local_cluster, run
from rube.compiler import compile_protos
from rube.shipped import shipped_directory
from tests.real.cluster_calls import client_of, until

EXAMPLE = shipped_directory("examples") / "10-files"
PROTO = str(EXAMPLE / "files.proto")
ARGS = ("--controllers", "files:files")


def types() -> list[Object]:
    return checked_types(compile_protos([PROTO]), [PROTO])


def motd() -> Object:
    known = BUILTIN.with_kind(kind_from(types()[0]))
    (document,) = parse_documents((EXAMPLE / "files.textproto").read_text(), "files.textproto", known)
    return document.objects[0]


def test_files_are_written_kept_and_removed_and_survive_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE)
    key = key_of(motd()).to_proto()

    async def main() -> None:
        async with local_cluster(tmp_path) as cluster, client_of(cluster) as client:
            await client.put(PutRequest(objects=types()))
            rubelet = await cluster.start_rubelet("worker-1", args=ARGS)
            data = cluster.node_directory("worker-1")
            file = data / "files" / "etc" / "motd"

            async def written() -> bool:
                return file.exists() and file.read_bytes() == b"Welcome.\n"

            async def reported() -> bool:
                return b"written" in (await client.get(GetRequest(key=key))).object.status.value

            async def gone() -> bool:
                return not file.exists() and not list((data / "file-records").iterdir())

            await client.put(PutRequest(objects=[motd()]))
            await until("the file is there", written)
            await until("its status says so", reported)
            file.unlink()
            await until("it is there again", written)
            await rubelet.kill()
            file.write_text("changed while the rubelet was down")
            await cluster.start_rubelet("worker-1", args=ARGS)
            await until("it is as the object says", written)
            await rubelet.kill()
            await client.delete(DeleteRequest(keys=[key]))
            await cluster.start_rubelet("worker-1", args=ARGS)
            await until("it went with its object", gone)
            await client.put(PutRequest(objects=[motd()]))
            await until("the file is there", written)
            await rubelet.stop()
            argv = [*RUBELET, "--data", str(data), "--driver", "supervisor", "--purge", *ARGS]
            assert await run(argv) == (0, "rubelet: 1 things removed\n")
            assert await gone()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fles:files", "cannot import 'fles'"),
        ("files:fils", "files has no 'fils'; did you mean 'files'?"),
        ("files:FILE", "'files:FILE' is no function that makes a node controller"),
        ("nothing", "there is no controller 'nothing'; one of your own is named package.module:Name"),
    ],
)
def test_a_name_that_gives_no_node_controller_is_wrong_usage(tmp_path: Path, name: str, says: str) -> None:
    found = rubelet(tmp_path, name)
    assert (found.returncode, "Traceback" in found.stderr) == (2, False)
    assert says in found.stderr


def test_a_function_that_makes_something_else_ends_the_rubelet_with_the_reason(tmp_path: Path) -> None:
    found = rubelet(tmp_path, "files:problem_of")
    assert (found.returncode, "Traceback" in found.stderr) == (1, False)
    assert "node controller 'files:problem_of' cannot be made: AttributeError" in found.stderr


def rubelet(tmp_path: Path, name: str) -> subprocess.CompletedProcess[str]:
    argv = [*RUBELET, "--data", str(tmp_path / "node"), "--driver", "supervisor", "--controllers", name]
    return subprocess.run(argv, cwd=EXAMPLE, env=os.environ, capture_output=True, text=True, check=False, timeout=60)
