"""The shell blocks of README.md, docs/ and the examples' READMEs.

Those about a cluster run as pasted on one that the test makes, those about the simulator and Raft's scripts run beside,
and those about machines that a test can't have are read by the same parsers as real command lines. No block is left
out: a new one that fits nowhere fails a test.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rube.cli.local import LocalCluster
from rube.cli.main import rube
from rube.cli.rubelet import rubelet
from ructl.main import ructl
from tests.doc_blocks import ROOT, Block, blocks

BIN = Path(sys.executable).parent
NODES = ("worker-1", "worker-2")
SESSIONS = (
    "README.md",
    "docs/quickstart.md",
    "docs/reference/ructl.md",
    "docs/explanation/events.md",
    "docs/explanation/nodes.md",
    "docs/howto/move-units.md",
    "docs/howto/delete.md",
    "docs/howto/past.md",
    "docs/howto/own-types.md",
    "docs/tutorials/own-controller.md",
    "docs/tutorials/services.md",
    "examples/01-hello-unit/README.md",
    "examples/02-many-fields/README.md",
    "examples/09-backup/README.md",
)
"""Pages whose blocks run on a cluster of two nodes, in their order, as one session."""
ENDLESS = re.compile(r"^(ructl (watch|logs -f|events -f)\b)", re.MULTILINE)
"""Commands that end by Ctrl-C alone."""
SET = re.compile(r"^([a-z_]+)=", re.MULTILINE)
"""Variables that a block sets."""
READ_ONLY = re.compile(
    r"\b10\.[01]\.0\.\d|/var/lib/rube|--seeds 1000|etcdctl|rube controller|make (coverage|demo|up|wheel)|raft shell"
    r"|rube apiserver"
)
"""Blocks about what a test can't have: other machines, an etcd with users, a thousand seeds. They are read, not run."""
PROGRAMS = {"rube": rube, "rubelet": rubelet, "ructl": ructl}


def of(block: Block) -> str:
    return block.place


def is_read_only(block: Block) -> bool:
    text = re.sub("^ructl context .*$", "", block.text, flags=re.MULTILINE)  # asks no server
    return bool(READ_ONLY.search(text))


SHELL = blocks("shell")
READ = [block for block in SHELL if is_read_only(block)]
RUN = [block for block in SHELL if not is_read_only(block)]


# Blocks that run


def environment(directory: Path, server: str) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RUBE_SERVER": server,
        "RUBE_CONFIG": str(directory / "config.yaml"),
    }


def run_block(block: Block, directory: Path, server: str) -> None:
    """Runs the block as bash does; its first command that fails ends it. What it sets, the page's later blocks have."""
    session = directory / ".session"
    text = f"[ ! -e {session} ] || source {session}\n"
    text += "".join(changes_of_directory(block)) + ENDLESS.sub(r"timeout --preserve-status -s INT 3 \1", block.text)
    text += "".join(f"\ndeclare -p {name} >> {session}" for name in SET.findall(block.text))
    found = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", text],
        cwd=directory,
        env=environment(directory, server),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, f"{block.place} ended with {found.returncode}: {found.stdout}{found.stderr}"
    assert "Traceback" not in found.stderr


def changes_of_directory(block: Block) -> list[str]:
    """The `cd` lines of the page's earlier blocks: a reader's shell stays where they led."""
    earlier = [other for other in SHELL if other.page == block.page and other.line < block.line]
    return [line for other in earlier for line in other.text.splitlines(keepends=True) if line.startswith("cd ")]


def workplace(directory: Path, page: str) -> Path:
    """A copy of an example's folder; for other pages a directory with what a checkout has, and the README's object in
    the file that its text means."""
    if page.startswith("examples/"):
        return Path(shutil.copytree((ROOT / page).parent, directory / "example"))
    for name in ("examples", "scenarios"):
        shutil.copytree(ROOT / name, directory / name)
    (hello,) = [block for block in blocks("prototext") if block.page == "README.md"]
    (directory / "hello.textproto").write_text(hello.text)
    (backup,) = [block for block in blocks("proto") if block.page == "docs/howto/validate-types.md"]
    (directory / "backup.proto").write_text(backup.text)
    for web in [block for block in blocks("prototext") if block.page == page == "docs/tutorials/services.md"]:
        (directory / "web.textproto").write_text(web.text)
    return directory


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with asyncio.Runner() as runner:
        made = LocalCluster(tmp_path_factory.mktemp("cluster"))
        try:
            runner.run(made.start_apiserver())
            for node in NODES:
                runner.run(made.start_rubelet(node))
            yield made
        finally:
            runner.run(made.stop())


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", SESSIONS)
def test_a_session_runs_as_pasted(cluster: LocalCluster, tmp_path: Path, page: str) -> None:
    directory = workplace(tmp_path, page)
    subprocess.run(
        ["bash", "-e", "-c", PREPARED.get(page, ":")],
        cwd=directory,
        env=environment(directory, cluster.address),
        check=True,
        timeout=110,
    )
    try:
        for block in RUN:
            if block.page == page:
                run_block(block, directory, cluster.address)
    finally:
        clean = """
            [ ! -e controller.pid ] || kill $(cat controller.pid)
            ructl delete -t Unit -l '!none' --all || true
            ructl wait -t Unit -n default --for deleted
        """
        subprocess.run(
            ["bash", "-c", clean],
            cwd=directory,
            env=environment(directory, cluster.address),
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=110,
        )


WEB_AND_HELLO = """
        sed 's/"hello"/"web"/; s/8780/8781/' hello.textproto > web.textproto
        sed -i 's/metadata {/metadata { labels { key: "node" value: "worker-1" }/' web.textproto
        ructl put web.textproto hello.textproto
        ructl wait -t Unit web hello --for active
"""
BACKUPS = """
        timeout 200 rube controller --server "$RUBE_SERVER" --data data --controllers backup:Backups > log.txt 2>&1 &
        echo $! > controller.pid
"""
GREETERS = """
        cat > run.sh <<'END'
        until grep -q greeting greeter/greeter/greeter_pb2.py; do sleep 0.2; done
        cd greeter
        until grep -q GREETING greeter/controller.py; do sleep 0.2; done
        exec rube controller --server "$RUBE_SERVER" --data data --controllers greeter.controller:GreeterController
END
        timeout 300 bash run.sh > log.txt 2>&1 &
        echo $! > controller.pid
"""
PREPARED = {
    "docs/tutorials/own-controller.md": GREETERS,
    "docs/explanation/events.md": "ructl put hello.textproto; ructl wait -t Unit hello --for active",
    "docs/explanation/nodes.md": WEB_AND_HELLO,
    "docs/howto/move-units.md": WEB_AND_HELLO,
    "examples/09-backup/README.md": BACKUPS,
}
"""The commands that have run before a page's blocks, as its text says."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("block", [block for block in RUN if block.page not in SESSIONS], ids=of)
def test_a_block_runs_as_pasted(block: Block, tmp_path: Path) -> None:
    run_block(block, workplace(tmp_path, block.page), "127.0.0.1:1")


# Blocks that are read


@pytest.mark.parametrize("block", READ, ids=of)
def test_a_command_line_is_one_that_the_program_takes(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for example in ("03-own-controller", "09-backup", "10-files"):
        monkeypatch.syspath_prepend(str(ROOT / "examples" / example))
    if block.page == "docs/tutorials/own-controller.md":
        made = CliRunner().invoke(rube, ["new", "controller", "greeter", str(tmp_path)])
        assert made.exit_code == 0, made.output
        monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(ROOT)
    for words in commands(block.text):
        if words[0] in PROGRAMS:
            check_usage(PROGRAMS[words[0]], words)
        else:
            assert words[0] in ("cd", "make", "pip", "etcdctl"), f"{block.place}: what is {words[0]}?"


def commands(text: str) -> Iterator[list[str]]:
    """The command lines of a block, with its variables filled in."""
    variables: dict[str, str] = {}
    for line in text.splitlines():
        for name, value in variables.items():
            line = line.replace(f"${name}", value)
        words = shlex.split(line, comments=True)
        if words and re.fullmatch(r"\w+=.*", words[0]):
            name, _, variables[name] = words[0].partition("=")
        elif words:
            yield [word for word in words if word != "&"]


def check_usage(command: click.Command, words: list[str]) -> None:
    """Parses the command line, callbacks and all, and runs nothing. Raises click.UsageError."""
    context: click.Context | None = None
    name, rest = words[0], words[1:]
    while True:
        context = command.make_context(name, rest, parent=context)
        if not isinstance(command, click.Group):
            return
        found, subcommand, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert subcommand is not None, f"{name} has no command {words}"
        name, command = str(found), subcommand


def test_every_block_is_run_or_read() -> None:
    assert len(RUN) + len(READ) == len(SHELL) > 20
    assert {block.page for block in RUN} >= set(SESSIONS)
    assert sum(block.page == "docs/reference/ructl.md" for block in READ) == 0, "all of docs/reference/ructl.md runs"


def test_every_command_of_ructl_is_shown() -> None:
    page = (ROOT / "docs" / "reference" / "ructl.md").read_text()
    for name in ructl.list_commands(click.Context(ructl)):
        assert re.search(rf"^.*\bructl {name}\b", page, re.MULTILINE), (
            f"docs/reference/ructl.md does not show ructl {name}"
        )


def test_the_daemons_of_the_readme_start_as_pasted(tmp_path: Path) -> None:
    """They start on other paths and another port, as the machine that runs the test has its own."""
    (block,) = [block for block in READ if block.page == "README.md" and "rubelet" in block.text]
    cluster = LocalCluster(tmp_path)
    port = cluster_port()
    text = block.text.replace("/var/lib/rubeapiserver/store.db", str(tmp_path / "store.db"))
    text = text.replace("10.0.0.1:7823", f"127.0.0.1:{port}")
    text = text.replace("rubelet ", f"rubelet --data {tmp_path / 'node'} --driver supervisor ")
    text += "\nexport RUBE_TLS=~/rube/admin"
    text += "\nfor i in $(seq 60); do ructl wait -t Node worker-1 --for ready 2>/dev/null && break; sleep 0.5; done\n"
    shell = subprocess.Popen(
        ["bash", "-c", text + "ructl get -t Node worker-1 -o name; kill $(jobs -p); wait"],
        env={**environment(tmp_path, f"127.0.0.1:{port}"), "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = shell.communicate(timeout=100)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
    assert "api.Node/worker-1" in output
    assert not cluster.apiserver.running


def cluster_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port
