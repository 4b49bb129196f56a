"""The time that a user waits for `ructl`, from shell to shell: `pytest bench/test_ructl.py`.

Beside it in the same run: the bare interpreter, and the libraries that every client of gRPC imports.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

ROUNDS = 10
UNIT = """
metadata { namespace: "bench" name: "a" }
spec { [rube/api.systemd.Unit] { description: "x" service { exec { start: "/bin/true" } } } }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an apiserver that holds one unit."""
    store = f"sqlite:///{tmp_path_factory.mktemp('bench') / 'rube.db'}"
    command = [sys.executable, "-m", "rube.cli.main", "apiserver", "--store", store, "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    ready = re.search(r"listening on ([^,\s]+)", process.stdout.readline())
    assert ready
    run_ructl(ready[1], "put", text=UNIT)
    yield ready[1]
    process.terminate()
    process.wait()
    process.stdout.close()


def run_ructl(server: str, *arguments: str, text: str = "") -> None:
    subprocess.run(
        [sys.executable, "-m", "ructl.main", *arguments],
        input=text,
        env={**os.environ, "RUBE_SERVER": server},
        check=True,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def run_python(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True)


def test_bare_interpreter(benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(run_python, args=("pass",), rounds=ROUNDS, warmup_rounds=1)


def test_import_of_grpc_and_protobuf(benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(
        run_python, args=("import grpc.aio, google.protobuf.text_format",), rounds=ROUNDS, warmup_rounds=1
    )


def test_ructl_help(benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(run_ructl, args=("", "--help"), rounds=ROUNDS, warmup_rounds=1)


def test_ructl_get(benchmark: BenchmarkFixture, server: str) -> None:
    benchmark.pedantic(
        run_ructl, args=(server, "get", "-t", "Unit", "-n", "bench", "a"), rounds=ROUNDS, warmup_rounds=1
    )


def test_ructl_put(benchmark: BenchmarkFixture, server: str, tmp_path: Path) -> None:
    file = tmp_path / "unit.textproto"
    file.write_text(UNIT)
    benchmark.pedantic(run_ructl, args=(server, "put", str(file)), rounds=ROUNDS, warmup_rounds=1)
