"""The built wheel, as a stranger installs it, into an empty environment away from any checkout; and the Debian package.

Needs a package index that pip reaches; where there is none it is skipped, unless CI=true.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rube.cli.local import Daemon, listen_address

ROOT = Path(__file__).parents[2]
BUILDING_S_MAX = 500
PIP = [sys.executable, "-m", "pip"]
DEBIAN_PYTHON = Path("/usr/bin/python3")

pytestmark = pytest.mark.timeout(BUILDING_S_MAX)


def run(arguments: Sequence[str | Path], directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Nothing of this checkout's is in the environment."""
    clean = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV", "RUBE_SERVER")
    }
    return subprocess.run(
        arguments,
        cwd=directory,
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def must(arguments: Sequence[str | Path], directory: Path, **environment: str) -> str:
    done = run(arguments, directory, **environment)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def package_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips what needs an index where pip does not reach one."""
    directory = tmp_path_factory.mktemp("index")
    quick = ["--quiet", "--no-deps", "--no-cache-dir", "--retries=0", "--timeout=5"]
    done = run([*PIP, "download", *quick, "--dest", directory, "click"], directory)
    if done.returncode != 0 and os.environ.get("CI") != "true":
        pytest.skip(f"pip reaches no package index (pip download click): {done.stderr.strip()[-200:]}")


@pytest.fixture(scope="session")
def wheel(package_index: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    must([sys.executable, "-m", "build", "--wheel", "--outdir", directory, ROOT], directory)
    (built,) = directory.glob("rube_plane-*.whl")
    return built


class Installation:
    """An environment of its own, with the wheel alone; `directory` is where its commands run."""

    def __init__(self, directory: Path, wheel: Path) -> None:
        self.directory = directory
        self.bin = directory / "venv" / "bin"
        must([sys.executable, "-m", "venv", "--without-pip", directory / "venv"], directory)
        self.install(str(wheel))

    def install(self, *requirements: str) -> None:
        python = self.bin / "python"
        must([*PIP, "--python", python, "install", "--quiet", "--no-compile", *requirements], self.directory)

    def __call__(self, command: str) -> str:
        name, *arguments = shlex.split(command)
        return must([self.bin / name, *arguments], self.directory)

    def refusal(self, command: str) -> str:
        name, *arguments = shlex.split(command)
        done = run([self.bin / name, *arguments], self.directory)
        assert done.returncode == 1, done
        return done.stderr


def test_a_wheel_gives_ructl_and_says_how_to_get_the_rest(wheel: Path, tmp_path: Path) -> None:
    rube = Installation(tmp_path, wheel)

    assert re.fullmatch(r"ructl, version \d+\.\d+\.\S+\n", rube("ructl --version"))
    assert "api.systemd.Unit" in rube("ructl explain Unit")
    assert "no server answers" in rube.refusal("ructl --server 127.0.0.1:1 list -t Unit")
    assert "systemd-units" in rube("rube --help")
    for command in ("rube apiserver --store memory:", "rubelet --node a --data node", "rube sim partition"):
        refusal = rube.refusal(command)
        (extra,) = re.findall(
            r"^\w+: \w+ is not installed, which this needs: pip install '(.*)'$", refusal, re.MULTILINE
        )
        assert extra == "rube-plane[server]", refusal

    rube.install("rube-plane[server]")
    asyncio.run(serve_a_hello(rube))
    refusal = rube.refusal("rube sim partition")
    assert refusal == "rube: simpy is not installed, which this needs: pip install 'rube-plane[sim]'\n"

    rube.install("rube-plane[sim]")
    assert re.search(r"^partition +One of three nodes", rube("rube sim --list"), re.MULTILINE)
    shown = rube("rube sim partition")
    assert "repeat: rube sim partition --seed" in shown

    rube.install("rube-plane[sim]", "protobuf<7")
    assert rube("python -c 'import google.protobuf; print(google.protobuf.__version__)'").startswith("6.")
    assert "api.systemd.Unit" in rube("ructl explain Unit")
    assert trace_sha256(rube("rube sim partition")) == trace_sha256(shown)


def trace_sha256(shown: str) -> str:
    (found,) = re.findall(r"^trace sha256: (\w+)$", shown, re.MULTILINE)
    return str(found)


async def serve_a_hello(rube: Installation) -> None:
    """A put of a shipped example reaches the installed server."""
    server = Daemon(
        "apiserver",
        [
            str(rube.bin / "rube"),
            "apiserver",
            "--store",
            f"sqlite:///{rube.directory}/store.db",
            "--listen",
            "127.0.0.1:0",
        ],
        log=rube.directory / "apiserver.log",
    )
    address = listen_address(await server.start())
    try:
        rube("rube examples examples")
        assert "created default/hello" in rube(f"ructl --server {address} put examples/01-hello-unit/hello.textproto")
        assert "hello" in rube(f"ructl --server {address} list -t Unit")
    finally:
        assert await server.stop() == 0


@pytest.mark.skipif(
    shutil.which("dpkg-deb") is None or not DEBIAN_PYTHON.exists() or os.geteuid() != 0,
    reason="needs root on Debian, and its python3: apt install python3",
)
def test_a_debian_package_installs_under_a_root_directory(wheel: Path, tmp_path: Path) -> None:
    built, root = tmp_path / "built", tmp_path / "root"
    pip = tmp_path / "pip"
    pip.write_text(f'#!/bin/sh\nexec {shlex.join(PIP)} "$@"\n')
    pip.chmod(0o755)
    must([ROOT / "packaging/debian/build", wheel, built], tmp_path, PIP=str(pip), EXTRAS="server")
    (package,) = built.glob("rube-plane_*.deb")
    (root / "var/lib/dpkg").mkdir(parents=True)
    for name in ("status", "available"):
        (root / "var/lib/dpkg" / name).touch()
    flags = ["--force-depends", "--force-script-chrootless", f"--root={root}"]
    must(["dpkg", *flags, "--install", package], tmp_path)

    home = root / "opt/rube-plane"
    assert [(root / f"usr/bin/{name}").readlink() for name in ("rube", "rubelet", "ructl")] == [
        Path(f"/opt/rube-plane/bin/{name}") for name in ("rube", "rubelet", "ructl")
    ]
    assert "ExecStart=/usr/bin/rubelet " in (root / "usr/lib/systemd/system/rubelet.service").read_text()
    assert (home / "bin/rube").read_text().startswith("#!/opt/rube-plane/bin/python3")
    version = must([home / "bin/python3", "-m", "ructl.main", "--version"], tmp_path).split()[-1]
    assert must(["dpkg-query", f"--root={root}", "-W", "-f=${Version}", "rube-plane"], tmp_path) == version.replace(
        ".dev", "~dev"
    )
    assert "apiserver" in must([home / "bin/python3", "-m", "rube.cli.main", "apiserver", "--help"], tmp_path)
    leaked = run(["grep", "-rIl", "--exclude-dir=__pycache__", str(tmp_path.parent), root / "opt"], tmp_path).stdout
    assert leaked == "", "files name the directory that they were built in"

    must(["dpkg", *flags, "--remove", "rube-plane"], tmp_path)
    assert not home.exists()
