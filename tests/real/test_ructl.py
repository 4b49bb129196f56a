"""ructl against a real apiserver in a process of its own."""

from __future__ import annotations

import io
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rube.api import textproto
from ructl.main import run
from tests.real.ructl_apiserver import WAIT_S_MAX, Apiserver, Watch, watching

EXAMPLE = Path(__file__).parents[2] / "examples" / "02-many-fields" / "indexer.textproto"


@pytest.fixture
def server(shared: Apiserver, monkeypatch: pytest.MonkeyPatch) -> Apiserver:
    monkeypatch.setenv("RUBE_SERVER", shared.listen)
    return shared


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Apiserver]:
    """A server that the test may kill."""
    server = Apiserver(tmp_path)
    server.start()
    monkeypatch.setenv("RUBE_SERVER", server.listen)
    yield server
    server.stop()


RUNNABLE = 'service { exec { start: "/bin/true" } }'


def _unit(namespace: str, name: str, description: str = "x", labels: str = "") -> str:
    return (
        f'# proto-message: Object\nmetadata {{ namespace: "{namespace}" name: "{name}" {labels} }}\n'
        f'spec {{ [rube/api.systemd.Unit] {{ description: "{description}" {RUNNABLE} }} }}\n'
    )


def _put(monkeypatch: pytest.MonkeyPatch, text: str) -> int:
    """Runs `ructl put < text`."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    return run(["put"])


def test_the_seeds_commands(
    server: Apiserver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _put(monkeypatch, EXAMPLE.read_text()) == 0
    assert re.fullmatch(r"created system/indexer revision \d+\n", capsys.readouterr().out)
    assert run(["get", "-t", "api.systemd.Unit", "-n", "system", "indexer"]) == 0
    (document,) = textproto.parse_documents(capsys.readouterr().out, "got")
    (wanted,) = textproto.parse_documents(EXAMPLE.read_text(), "example")
    assert document.objects[0].spec == wanted.objects[0].spec
    assert run(["delete", 'type = "api.systemd.Unit", metadata { namespace: "system", name: "indexer" }']) == 0
    assert re.fullmatch(r"deleted system/indexer revision \d+\n", capsys.readouterr().out)
    assert _put(monkeypatch, EXAMPLE.read_text()) == 0
    assert run(["delete", "-t", "api.systemd.Unit", "-n", "system", "indexer"]) == 0
    capsys.readouterr()
    assert run(["delete", "-t", "api.systemd.Unit", "-n", "system", "indexer"]) == 1
    assert "api.systemd.Unit/system/indexer does not exist" in capsys.readouterr().err


def test_what_was_printed_can_be_put_again(
    server: Apiserver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _put(monkeypatch, _unit("again", "a", 'ü \\"q\\" = #', 'labels { key: "k" value: "v" }')) == 0
    for arguments in (
        ["get", "-t", "Unit", "-n", "again", "a"],
        ["list", "-t", "Unit", "-n", "again", "-o", "textproto"],
    ):
        capsys.readouterr()
        assert run(arguments) == 0
        assert _put(monkeypatch, capsys.readouterr().out) == 0


def test_a_selector_that_matches_several_lists_them_and_refuses(
    server: Apiserver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    selector = 'type = "Unit", metadata { namespace: "several" }'
    assert _put(monkeypatch, "".join(_unit("several", name) for name in "abc")) == 0
    capsys.readouterr()
    assert run(["delete", selector]) == 1
    assert "3 objects match api.systemd.Unit several/*: several/a, several/b, several/c; nothing was deleted" in (
        capsys.readouterr().err
    )
    assert run(["delete", selector, "--all"]) == 0
    assert [line.rpartition(" revision ")[0] for line in capsys.readouterr().out.splitlines()] == [
        "deleted several/a",
        "deleted several/b",
        "deleted several/c",
    ]
    assert run(["delete", selector, "--all"]) == 1


def test_a_name_without_a_namespace_is_found_where_it_is(
    server: Apiserver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _put(monkeypatch, _unit("one", "twice") + _unit("two", "twice") + _unit("one", "once")) == 0
    capsys.readouterr()
    assert run(["get", "-t", "Unit", "-o", "name", "twice"]) == 0
    assert capsys.readouterr().out == "api.systemd.Unit/one/twice\napi.systemd.Unit/two/twice\n"
    assert run(["delete", "-t", "Unit", "twice"]) == 1
    assert run(["delete", "-t", "Unit", "once"]) == 0
    assert run(["delete", "-t", "Unit", "once"]) == 1


def test_lists_are_filtered_by_labels(
    server: Apiserver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    label = 'labels {{ key: "tier" value: "{}" }}'.format
    assert _put(monkeypatch, _unit("lab", "a", labels=label("x")) + _unit("lab", "b", labels=label("y"))) == 0
    capsys.readouterr()
    assert run(["list", "-t", "Unit", "-n", "lab", "-l", "tier!=x", "-o", "name"]) == 0
    assert capsys.readouterr().out == "api.systemd.Unit/lab/b\n"
    assert run(["list", "-t", "Unit", "-n", "lab", "-l", "tier=z"]) == 0
    assert capsys.readouterr() == ("", "ructl: nothing matches api.systemd.Unit lab/* with tier=z\n")


def test_a_stale_revision_is_refused_with_the_remedy(
    server: Apiserver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _put(monkeypatch, _unit("stale", "a", "v1")) == 0
    capsys.readouterr()
    assert run(["get", "-t", "Unit", "-n", "stale", "a"]) == 0
    printed = capsys.readouterr().out
    assert _put(monkeypatch, printed.replace("v1", "v2")) == 0
    assert _put(monkeypatch, printed.replace("v1", "v3")) == 1
    complaint = capsys.readouterr().err
    assert "stale/a has changed: it is at revision" in complaint
    assert "to overwrite it leave metadata.revision and metadata.uid out" in complaint


def test_what_users_write_can_be_put_after_a_delete(
    server: Apiserver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _put(monkeypatch, _unit("back", "a", labels='labels { key: "k" value: "v" }') + _unit("back", "b")) == 0
    capsys.readouterr()
    assert run(["list", "-t", "Unit", "-n", "back", "-o", "spec"]) == 0
    backup = capsys.readouterr().out
    assert run(["delete", "-t", "Unit", "-n", "back", "--all"]) == 0
    assert _put(monkeypatch, backup) == 0
    capsys.readouterr()
    assert run(["list", "-t", "Unit", "-n", "back", "-o", "spec"]) == 0
    assert capsys.readouterr().out == backup


def test_a_list_is_put_at_one_revision(
    server: Apiserver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    items = "".join(
        f'items {{ metadata {{ namespace: "atom" name: "{name}" }}\n'
        f"spec {{ [rube/api.systemd.Unit] {{ {RUNNABLE} }} }} }}\n"
        for name in ("a", "b")
    )
    assert _put(monkeypatch, "# proto-file: rube/api.proto\n# proto-message: List\n" + items) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.rpartition(" ")[2] == second.rpartition(" ")[2]


def test_a_refused_document_says_what_was_stored(
    server: Apiserver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = _unit("part", "a") + _unit("part", "b", labels='labels { key: "no good" }') + _unit("part", "c")
    assert _put(monkeypatch, text) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("created part/a revision ")
    assert captured.err.startswith("ructl: <stdin>:4: ")
    assert "stored: part/a; not stored: part/b, part/c" in captured.err
    assert run(["get", "-t", "Unit", "-n", "part", "c"]) == 1


def test_an_object_of_5_mb_is_refused_with_the_limit(
    server: Apiserver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    title = "xxxxxxxxx\\n" * 500_000
    assert _put(monkeypatch, _unit("large", "a").replace("service {", f'service {{ title: "{title}"')) == 1
    assert re.search(r"large/a has 5000\d{3} bytes; this store takes at most \d+", capsys.readouterr().err)
    assert run(["list", "-t", "Unit", "-n", "large"]) == 0


def test_a_directory_is_put_in_order(server: Apiserver, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b", "a", "sub/c"):
        (tmp_path / f"{name}.textproto").write_text(_unit("dir", name[-1]))
    (tmp_path / "README").write_text("not text format")
    assert run(["put", str(tmp_path)]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["dir/a", "dir/b"]
    assert run(["put", "-R", str(tmp_path)]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["dir/a", "dir/b", "dir/c"]


def test_watch_prints_blocks_that_parse_back(server: Apiserver, monkeypatch: pytest.MonkeyPatch) -> None:
    _put(monkeypatch, _unit("seen", "a", "old"))
    with watching("-t", "Unit", "-n", "seen") as watch:
        assert watch.event().update.metadata.name == "a"
        _put(monkeypatch, _unit("seen", "b"))
        assert watch.event().update.metadata.name == "b"
        run(["delete", "-t", "Unit", "-n", "seen", "a"])
        gone = watch.event()
        assert (gone.WhichOneof("event"), gone.delete.metadata.name) == ("delete", "a")
        assert gone.delete.HasField("spec")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_ends_cleanly_on_a_signal(server: Apiserver, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    _put(monkeypatch, _unit("sig", "a"))
    with watching("-t", "Unit", "-n", "sig", "a") as watch:
        watch.event()
        watch.process.send_signal(number)
        assert watch.process.wait(WAIT_S_MAX) == 0
        assert watch.process.stderr is not None
        assert watch.process.stderr.read() == b""


def test_watch_ends_when_nobody_reads_any_more(server: Apiserver, monkeypatch: pytest.MonkeyPatch) -> None:
    _put(monkeypatch, _unit("pipe", "a"))
    with watching("-t", "Unit", "-n", "pipe") as watch:
        watch.event()
        assert watch.process.stdout is not None
        watch.process.stdout.close()
        assert watch.process.wait(WAIT_S_MAX) == 0


def test_watch_goes_on_after_the_server_was_killed(own_server: Apiserver, monkeypatch: pytest.MonkeyPatch) -> None:
    _put(monkeypatch, _unit("kill", "a"))
    with watching("-t", "Unit") as watch, watching("-t", "Unit", "--no-initial") as later:
        assert watch.event().update.metadata.name == "a"
        _wait_until_told(later, monkeypatch)
        own_server.stop()
        assert "was lost; resuming after revision" in watch.complaint()
        own_server.start()
        assert _put(monkeypatch, _unit("kill", "b")) == 0
        names = [watch.event().update.metadata.name]
        while names[-1] != "b":
            names.append(watch.event().update.metadata.name)
        assert names == [*[name for name in names if name.startswith("told")], "b"]
        while later.event().update.metadata.name != "b":
            pass


def _wait_until_told(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts until the watch, which began without the objects that existed, shows a change."""
    for attempt in range(100):
        _put(monkeypatch, _unit("kill", f"told-{attempt}"))
        assert watch.process.stdout is not None
        if select.select([watch.process.stdout], [], [], 0.2)[0]:
            assert watch.event().update.metadata.name.startswith("told")
            return
    pytest.fail("the watch shows nothing")


def test_watch_shows_the_difference_to_another_store(own_server: Apiserver, monkeypatch: pytest.MonkeyPatch) -> None:
    _put(monkeypatch, _unit("wipe", "a") + _unit("wipe", "b"))
    with watching("-t", "Unit") as watch:
        assert [watch.event().update.metadata.name for _ in range(2)] == ["a", "b"]
        own_server.stop()
        own_server.wipe()
        own_server.start()
        _put(monkeypatch, _unit("wipe", "b", "new"))
        events = [watch.event()]
        while not events[-1].HasField("update"):
            events.append(watch.event())
        assert "a" in [event.delete.metadata.name for event in events]
        assert events[-1].update.metadata.name == "b"


def test_a_put_without_an_answer_says_that_it_may_be_stored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that greets, takes the put and says no more; one that does not even greet cannot have it."""
    for greets, stored in (
        (True, "perhaps stored: a/x (putting it again does no harm); not stored: a/y"),
        (False, "not stored: a/x, a/y"),
    ):
        with socket.create_server(("127.0.0.1", 0)) as hanging:
            greeter = threading.Thread(target=_greet, args=(hanging,))
            if greets:
                greeter.start()
            monkeypatch.setenv("RUBE_SERVER", f"127.0.0.1:{hanging.getsockname()[1]}")
            monkeypatch.setattr(
                sys, "stdin", io.TextIOWrapper(io.BytesIO((_unit("a", "x") + _unit("a", "y")).encode()))
            )
            assert run(["put", "--timeout", "0.5"]) == 1
            if greets:
                greeter.join()
        complaint = capsys.readouterr().err
        assert "did not answer within 0.5 s" in complaint
        assert complaint.rstrip().endswith(f"; {stored}")


def _greet(server: socket.socket) -> None:
    """Says what an HTTP/2 server says first, and hears the client out."""
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        while connection.recv(65536):
            pass


def test_a_hanging_server_is_named_in_time(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        address = f"127.0.0.1:{hanging.getsockname()[1]}"
        began = time.monotonic()
        assert run(["list", "-t", "Unit", "--server", address, "--timeout", "0.5"]) == 1
        assert run(["watch", "-t", "Unit", "--server", address, "--timeout", "0.5"]) == 1
        assert time.monotonic() - began < 5
    lines = capfd.readouterr().err.splitlines()
    assert [line for line in lines if f"ructl: {address} did not answer within 0.5 s" in line] == lines


def test_a_node_is_asked_on_its_socket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "node.sock"
    node = Apiserver(tmp_path, listen=f"unix:{path}")
    node.start()
    try:
        assert run(["list", "-t", "Node", "--node-socket", str(path)]) == 0
        assert run(["get", "-t", "Node", "w1", "--node-socket", str(path)]) == 1
        assert "there is no node 'w1' on this node" in capsys.readouterr().err
    finally:
        node.stop()
    assert run(["list", "-t", "Node", "--node-socket", str(path)]) == 1
    assert "is this node's rubelet running?" in capsys.readouterr().err


def test_what_is_no_grpc_server_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as http:
        address = f"127.0.0.1:{http.getsockname()[1]}"
        command = [sys.executable, "-m", "ructl.main", "list", "-t", "Node", "--server", address]
        client = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        peer, _ = http.accept()
        with peer:
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            _, complaint = client.communicate(timeout=WAIT_S_MAX)
    assert client.returncode == 1
    assert complaint.startswith(f"ructl: no server answers at {address} (")


def test_get_takes_little_more_than_its_libraries(server: Apiserver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processor time, for the machine may be busy: 0.12 s against 0.05 s; bench/test_ructl.py has the wall time."""
    _put(monkeypatch, _unit("fast", "a"))
    get = [sys.executable, "-m", "ructl.main", "get", "-t", "Unit", "-n", "fast", "a"]
    libraries = [sys.executable, "-c", "import google.protobuf.text_format, click"]
    rounds = [(_processor_s(get), _processor_s(libraries)) for _ in range(4)]
    assert min(took for took, _ in rounds) < 2.5 * min(took for _, took in rounds)


def _processor_s(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    "command",
    [
        "get -t Unit -n lean a",
        "list -t Unit",
        "describe -t Unit -n lean a",
        "history -t Unit -n lean a",
        "put FILE",
        "put --server SERVER,127.0.0.1:1 FILE",
        "apply -f FILE",
    ],
)
def test_a_short_command_loads_no_grpc_and_no_event_loop(
    server: Apiserver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """Both together would take longer than the rest of it."""
    _put(monkeypatch, _unit("lean", "a"))
    (tmp_path / "a.textproto").write_text(_unit("lean", "a"))
    command = command.replace("FILE", str(tmp_path / "a.textproto")).replace("SERVER", server.listen)
    arguments = command.split()
    program = (
        f"import sys; from ructl.main import run; code = run({arguments!r});"
        "print(code, [m for m in sys.modules if m in ('asyncio', 'grpc', 'ssl', 'logging')], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stderr.splitlines()[-1] == "0 []"


def test_an_output_that_cannot_be_written_is_named(server: Apiserver, monkeypatch: pytest.MonkeyPatch) -> None:
    _put(monkeypatch, _unit("full", "a"))
    command = [sys.executable, "-m", "ructl.main", "get", "-t", "Unit", "-n", "full", "a"]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (1, "ructl: cannot write the output: No space left on device\n")


def test_only_what_a_client_needs_is_imported() -> None:
    program = (
        "import sys; from ructl.main import run; run(['get', '--help']);"
        "import ructl.put, ructl.list, ructl.watch, ructl.delete;"
        "print([m for m in sys.modules if m.startswith(('rube.store', 'rube.server', 'rube.sim', 'rube.cli.', 'simpy',"
        " 'sqlite3', 'yaml', 'uvloop', 'google.protobuf.json_format'))])"
    )
    uncounted = {
        name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")
    }  # it has sqlite3
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=uncounted)
    assert result.stdout.splitlines()[-1] == "[]"
