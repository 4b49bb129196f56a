"""An operator's work with ructl, on a real apiserver and a rubelet with its supervisor."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from rube.cli.local import RUCTL, LocalCluster, run

NODE = "worker-1"
SLEEPER = "/bin/sleep 86400"


@dataclass
class Operator:
    """A cluster of one node, and ructl on it."""

    cluster: LocalCluster
    runner: asyncio.Runner
    directory: Path

    def ructl(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        """The output of the command; it must end with that exit code."""
        argv = [*RUCTL, "--server", self.cluster.address, *arguments]
        found, output = self.runner.run(run(argv, stdin=stdin.encode()))
        assert found == code, f"ructl {' '.join(arguments)} ended with {found}: {output}"
        return output

    @contextmanager
    def beside(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """ructl in a process of its own."""
        process = subprocess.Popen(
            [*RUCTL, "--server", self.cluster.address, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def put(self, name: str, start: str = SLEEPER, more: str = "", unit: str = "") -> str:
        return self.ructl("put", stdin=text_of(name, start, more, unit))

    def active(self, name: str) -> None:
        self.ructl("wait", "-t", "Unit", "-n", "op", name, "--for", "active")

    def field(self, name: str, field: str) -> str:
        found = re.search(rf'\b{field}: "?([^"\n]*)', self.ructl("get", "-t", "Unit", "-n", "op", name))
        return found[1] if found else ""


def text_of(name: str, start: str = SLEEPER, more: str = "", unit: str = "") -> str:
    return (
        f'# proto-message: Object\nmetadata {{ namespace: "op" name: "{name}" {more} }}\n'
        f'spec {{ [rube/api.systemd.Unit] {{ service {{ exec {{ start: "{start}" }} }} {unit} }} }}\n'
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with asyncio.Runner() as runner:
        cluster = LocalCluster(tmp_path_factory.mktemp("operator"))
        try:
            runner.run(cluster.start_apiserver())
            runner.run(cluster.start_rubelet(NODE))
            yield Operator(cluster, runner, tmp_path_factory.mktemp("files"))
        finally:
            runner.run(cluster.stop())


@pytest.fixture
def op(site: Operator) -> Iterator[Operator]:
    """The operator's site without units, before and after."""
    yield site
    if site.ructl("list", "-t", "Unit", "-n", "op", "-o", "name").startswith("api."):
        site.ructl("delete", "-t", "Unit", "-n", "op", "-l", "!none", "--all")


# put, diff, delete


def test_put_says_what_became_of_each_object(op: Operator) -> None:
    assert op.put("a").startswith("created op/a revision ")
    assert op.put("a").startswith("unchanged op/a revision ")
    assert op.put("a", "/bin/sleep 1000").startswith("changed op/a revision ")


def test_a_dry_run_stores_nothing_and_shows_what_would_be(op: Operator) -> None:
    assert op.ructl("put", "--dry-run", stdin=text_of("a")) == "would create op/a\n"
    op.ructl("get", "-t", "Unit", "-n", "op", "a", code=1)
    shown = op.ructl("put", "--dry-run", "-o", "yaml", stdin=text_of("a"))
    assert "name: a" in shown
    assert "generation: '1'" in shown
    assert "is missing" in op.ructl("put", "--dry-run", stdin=text_of("a").replace("start", "stop"), code=1)
    op.put("a")
    assert op.ructl("delete", "--dry-run", "-t", "Unit", "-n", "op", "a") == "would delete op/a\n"
    assert op.ructl("delete", "--dry-run", "-t", "Unit", "-n", "op", "-l", "!x", "--all") == "would delete op/a\n"
    assert "does not exist" in op.ructl("delete", "--dry-run", "-t", "Unit", "-n", "op", "b", code=1)
    assert 'name: "a"' in op.ructl("get", "-t", "Unit", "-n", "op", "a")


def test_delete_waits_for_finalizers_and_says_so(op: Operator) -> None:
    op.ructl("put", stdin=text_of("a", more='finalizers: "example/close"'))
    deleting = ("delete", "-t", "Unit", "-n", "op", "a")
    waits = "op/a waits for example/close (whoever set it removes it)"
    assert op.ructl(*deleting, "--dry-run") == f"would begin to delete {waits.replace(' waits', ': waits')}\n"
    late = op.ructl(*deleting, "--within", "100ms", code=3)
    assert f"ructl: {waits}; ructl describe says more\n" in late
    assert f"waited 0.1 s: {waits}; the deletion goes on" in late
    assert op.ructl(*deleting, "--no-wait").startswith("deleting op/a: waits for example/close")
    assert "op/a is being deleted: it waits for example/close" in op.ructl("put", stdin=text_of("a"))
    described = op.ructl("describe", "-t", "Unit", "-n", "op", "a")
    assert re.search(r"deletion +asked for \d+\w ago, waits for example/close", described)
    assert op.ructl("release", "-t", "Unit", "-n", "op", "a", "--finalizer", "example/close") == "deleted op/a\n"
    op.ructl("get", "-t", "Unit", "-n", "op", "a", code=1)


def test_delete_ends_when_the_last_finalizer_is_removed(op: Operator) -> None:
    op.ructl("put", stdin=text_of("a", more='finalizers: "example/close"'))
    with op.beside("delete", "-t", "Unit", "-n", "op", "a") as process:
        assert process.stderr is not None
        assert "waits for example/close" in process.stderr.readline()
        op.ructl("release", "-t", "Unit", "-n", "op", "a", "--finalizer", "example/close")
        assert process.wait(30) == 0


def test_a_namespace_goes_with_what_is_in_it_and_says_what_it_waits_for(op: Operator) -> None:
    op.ructl("put", stdin='# proto-message: Object\nmetadata { name: "op" } spec { [rube/core.Namespace] {} }\n')
    op.ructl("put", stdin=text_of("a", more='finalizers: "example/close"'))
    op.put("b")
    op.ructl("delete", "-t", "Namespace", "op", "--no-wait")
    op.ructl("wait", "-t", "Unit", "-n", "op", "b", "--for", "deleted")
    op.ructl("wait", "-t", "Namespace", "op", "--for", "condition=Deleting")
    described = op.ructl("describe", "-t", "Namespace", "op")
    assert re.search(r"blocked by +api.systemd.Unit/op/a \(waits for example/close", described)
    assert re.search(r"conditions +Deleting true for \d+s \(WaitsForFinalizers: api.systemd.Unit/op/a", described)
    assert re.search(r"op +deleting", op.ructl("list", "-t", "Namespace"))
    assert "namespace 'op' is being deleted" in op.ructl("put", stdin=text_of("c"), code=1)
    op.ructl("release", "-t", "Unit", "-n", "op", "a", "--finalizer", "example/close")
    op.ructl("wait", "-t", "Namespace", "op", "--for", "deleted")


def test_diff_ends_as_diff_does(op: Operator) -> None:
    new = op.ructl("diff", stdin=text_of("a"), code=1)
    assert "--- /dev/null\n+++ <stdin> op/a\n" in new
    op.put("a")
    assert op.ructl("diff", stdin=text_of("a")) == ""
    changed = op.ructl("diff", stdin=text_of("a", "/bin/sleep 7", 'labels { key: "tier" value: "web" }'), code=1)
    assert '-        start: "/bin/sleep 86400"\n+        start: "/bin/sleep 7"\n' in changed
    assert '+    key: "tier"' in changed
    assert op.ructl("diff", stdin=text_of("a")) == "", "nothing was stored"
    assert "<stdin>:1:" in op.ructl("diff", stdin="metadata {", code=2)
    assert "No such file" in op.ructl("diff", str(op.directory / "none"), code=2)


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_what_get_prints_can_be_put_again(op: Operator, output: str) -> None:
    op.put("a")
    op.active("a")
    text = op.ructl("get", "-t", "Unit", "-n", "op", "a", "-o", output)
    assert op.ructl("put", stdin=text).startswith("unchanged op/a")
    assert op.ructl("put", stdin=text.replace("86400", "8640")).startswith("changed op/a")
    everything = op.ructl("list", "-t", "Unit", "-n", "op", "-o", output)
    op.ructl("delete", "-t", "Unit", "-n", "op", "a")
    file = op.directory / f"all.{output}"
    file.write_text(everything)
    assert op.ructl("put", str(file)).startswith("created op/a")


# wait


def test_wait_begins_before_the_object_exists(op: Operator) -> None:
    with op.beside("wait", "-t", "Unit", "-n", "op", "later", "--for", "active") as waiting:
        time.sleep(1.0)
        assert waiting.poll() is None
        op.put("later")
        out, err = waiting.communicate(timeout=60)
        assert (waiting.returncode, out, err) == (0, "op/later active\n", "")


def test_wait_for_deletion_and_for_a_selector(op: Operator) -> None:
    label = 'labels { key: "tier" value: "web" }'
    op.put("a", more=label)
    op.put("b", more=label)
    assert op.ructl("wait", "-t", "Unit", "-l", "tier=web", "--for", "active") == "op/a active\nop/b active\n"
    with op.beside("wait", "-t", "Unit", "-l", "tier=web", "--for", "deleted") as waiting:
        time.sleep(0.5)
        op.ructl("delete", "-t", "Unit", "-n", "op", "a")
        time.sleep(0.5)
        assert waiting.poll() is None
        op.ructl("delete", "-t", "Unit", "-n", "op", "b")
        assert waiting.wait(60) == 0
    assert op.ructl("wait", "-t", "Unit", "-n", "op", "a", "--for", "deleted") == ""


def test_wait_that_is_late_says_what_it_waited_for_and_why(op: Operator) -> None:
    op.put("fails", "/bin/false")
    op.ructl("wait", "-t", "Unit", "-n", "op", "fails", "--for", "status.active_state=failed")
    late = op.ructl("wait", "-t", "Unit", "-n", "op", "fails", "--for", "active", "--within", "0.5", code=3)
    assert re.match(r"ructl: waited 0.5 s for active of api.systemd.Unit op/fails: op/fails: it is failed", late)
    none = op.ructl("wait", "-t", "Unit", "-n", "op", "none", "--for", "exists", "--within", "0", code=3)
    assert none.endswith("none: it does not exist\n")


def test_wait_for_a_node(op: Operator) -> None:
    assert op.ructl("wait", "-t", "Node", NODE, "--for", "ready", "--for", "spec.unschedulable=false") == (
        f"{NODE} ready and spec.unschedulable=false\n"
    )


def is_connected(pid: int, port: int) -> bool:
    """Returns whether a process has an established connection to a port (proc(5): net/tcp, tcp6)."""
    with suppress(OSError):  # it ends, or closes a file meanwhile
        sockets = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        lines = [
            line for table in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        ]
        for line in lines:
            fields = line.split()
            remote, state, inode = fields[2], fields[3], fields[9]
            if int(remote.partition(":")[2], 16) == port and state == "01" and f"socket:[{inode}]" in sockets:
                return True
    return False


def test_wait_goes_on_over_a_restart_of_the_apiserver(op: Operator) -> None:
    with op.beside("wait", "-t", "Unit", "-n", "op", "later", "--for", "active") as waiting:
        until_s = time.monotonic() + 60
        while not is_connected(waiting.pid, int(op.cluster.address.rpartition(":")[2])):
            assert time.monotonic() < until_s, "ructl has not connected"
            time.sleep(0.05)
        time.sleep(1.0)  # the watch has its first response
        op.runner.run(op.cluster.apiserver.kill())
        op.runner.run(op.cluster.start_apiserver())
        op.put("later")
        _, err = waiting.communicate(timeout=90)
        assert waiting.returncode == 0
        assert "was lost; resuming after revision" in err


def test_commands_without_a_server_name_it(op: Operator) -> None:
    for arguments in (
        ("wait", "-t", "Unit", "a", "--for", "active"),
        ("describe", "-t", "Unit", "a"),
        ("restart", "a"),
        ("cordon", "a"),
        ("delete", "--dry-run", "-t", "Unit", "-n", "op", "a"),
    ):
        assert "no server answers at 127.0.0.1:1 (" in op.ructl(*arguments, "--server", "127.0.0.1:1", code=1)


# restart, cordon, describe


def test_a_restart_leaves_the_definition_as_it_is(op: Operator) -> None:
    op.put("a")
    op.active("a")
    pid, generation = op.field("a", "main_pid"), op.field("a", "generation")
    assert op.ructl("restart", "-n", "op", "a") == "restarted op/a\n"
    op.ructl("wait", "-t", "Unit", "-n", "op", "a", "--for", f"status.main_pid!={pid}", "--for", "active")
    assert op.field("a", "generation") == generation
    assert op.ructl("diff", stdin=text_of("a")) == "", "a file that is put again takes no request back"
    again = op.field("a", "main_pid")
    assert op.put("a").startswith("unchanged")
    kill_and_start_the_rubelet(op)
    op.active("a")
    assert op.field("a", "main_pid") == again, "nor does a new rubelet carry it out twice"


def kill_and_start_the_rubelet(op: Operator) -> None:
    op.runner.run(op.cluster.rubelets[NODE].kill())
    op.runner.run(op.cluster.start_rubelet(NODE))


def test_a_restart_that_was_asked_for_while_the_node_was_away_is_carried_out_once(op: Operator) -> None:
    op.put("a")
    op.active("a")
    pid = op.field("a", "main_pid")
    op.runner.run(op.cluster.rubelets[NODE].kill())
    late = op.ructl("restart", "-n", "op", "a", "--within", "0.5", code=3)
    assert "op/a has not restarted within 0.5 s, and still may: node worker-1 has not carried it out" in late
    assert op.ructl("restart", "-n", "op", "a", "--no-wait") == "asked to restart op/a\n"
    assert "node worker-1 to restart it, as was asked" in op.ructl("describe", "-t", "Unit", "-n", "op", "a")
    op.runner.run(op.cluster.start_rubelet(NODE))
    op.ructl("wait", "-t", "Unit", "-n", "op", "a", "--for", f"status.main_pid!={pid}", "--for", "active")
    once = op.field("a", "main_pid")
    time.sleep(3.0)
    assert op.field("a", "main_pid") == once


def test_units_that_cannot_be_restarted(op: Operator) -> None:
    op.put("down", unit="state: STOPPED")
    assert "is to be stopped: put it with state: RUNNING" in op.ructl("restart", "-n", "op", "down", code=1)
    assert "there is no unit 'none'" in op.ructl("restart", "none", code=1)
    op.put("fails", "/bin/false")
    op.ructl("wait", "-t", "Unit", "-n", "op", "fails", "--for", "status.active_state=failed")
    assert "was restarted and has failed" in op.ructl("restart", "-n", "op", "fails", code=1)


def test_a_cordoned_node_gets_no_new_unit(op: Operator) -> None:
    assert op.ructl("cordon", NODE) == f"cordoned {NODE}\n"
    assert op.ructl("cordon", NODE) == f"{NODE} is cordoned already\n"
    op.put("a")
    op.ructl("wait", "-t", "Unit", "-n", "op", "a", "--for", "active", "--within", "2", code=3)
    told = op.ructl("describe", "-t", "Unit", "-n", "op", "a")
    assert "node          none yet" in told
    assert "a ready node that takes units" in told
    assert "takes units   no: it is cordoned" in op.ructl("describe", "-t", "Node", NODE)
    assert op.ructl("uncordon", NODE) == f"uncordoned {NODE}\n"
    op.active("a")
    assert "there is no node 'worker-9'" in op.ructl("cordon", "worker-9", code=1)


def test_describe_tells_a_unit_and_its_node(op: Operator) -> None:
    op.put("a")
    op.active("a")
    told = op.ructl("describe", "-t", "Unit", "-n", "op", "a")
    assert told.startswith("api.systemd.Unit op/a\n")
    assert f"node          {NODE} (ready for " in told
    assert "state         active (running)" in told
    assert "waits for     nothing\n  next          if its process ends, it is not restarted" in told
    op.put("fails", "/bin/false")
    op.ructl("wait", "-t", "Unit", "-n", "op", "fails", "--for", "status.active_state=failed")
    failed = op.ructl("describe", "-t", "Unit", "-n", "op", "fails")
    assert "message       failed (exit-code, status 1)" in failed
    assert "next          it stays failed" in failed
    node = op.ructl("describe", "-t", "Node", NODE)
    assert "op/a: active (running)" in node
    on_node = op.ructl("describe", "-t", "Unit", "-n", "op", "a", "--server", "x:1", code=1)
    assert "no server answers" in on_node


def test_completion_offers_what_the_server_has(op: Operator) -> None:
    op.put("complete-me")

    def completed(*words: str) -> list[str]:
        found = subprocess.run(
            [*RUCTL[:1], "-c", "from ructl.main import main; main()"],
            env={
                **os.environ,
                "RUBE_SERVER": op.cluster.address,
                "_RUCTL_COMPLETE": "bash_complete",
                "COMP_WORDS": " ".join(words),
                "COMP_CWORD": str(len(words) - 1),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return [line.partition(",")[2] for line in found.stdout.splitlines()]

    assert completed("ructl", "get", "-t", "Unit", "comp") == ["complete-me"]
    assert completed("ructl", "restart", "comp") == ["complete-me"]
    assert completed("ructl", "get", "-t", "Unit", "-n", "o") == ["op"]
    assert completed("ructl", "cordon", "wor") == [NODE]
    assert completed("ructl", "list", "-t", "Unit", "-l", "node=") == [f"node={NODE}"]


def test_output_that_nobody_reads_ends_it_quietly(op: Operator) -> None:
    for number in range(3):
        op.ructl("put", stdin="".join(text_of(f"n{number}-{index}", unit="state: STOPPED") for index in range(40)))
    ructl = " ".join((*RUCTL, "--server", op.cluster.address))
    many = op.directory / "many.yaml"
    many.write_text(op.ructl("list", "-t", "Unit", "-n", "op", "-o", "yaml"))
    for command in (
        f"{ructl} list -t Unit -o json | head -c 1",
        f"{ructl} get -t Unit -n op -l '!x' | head -1",
        f"{ructl} put {many} | head -0",
    ):
        found = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
        assert (found.returncode, found.stderr) == (0, ""), command
    for command in (f"{ructl} list -t Unit >&-", f"{ructl} list -t Node <&- >&- 2>&-", f"{ructl} --help >&-"):
        found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert (found.returncode, found.stderr) == (0, ""), command
