"""Mistakes of users and machines, tried on the real commands: each ends with one clear line and the right exit code,
loses nothing, and leaves the daemons alive.

Where a case is met in depth elsewhere it is not repeated here: the text format's errors (tests/unit/api), compaction
and positions of other stores (tests/conformance/api), damage and full disks below the store (tests/conformance/store),
full disks and restored stores under the daemons (test_bad_disks), servers that hang and 5 MB objects (test_ructl), a
node's name given twice (test_rubelet), units at the driver's port (tests/conformance/driver), scenario files
(tests/unit/sim).
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sqlite3
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rube.api import DeleteRequest, GetRequest, ListRequest, Metadata, Object, Service, Unit, WatchRequest
from rube.api.errors import DataLossError, RevisionAheadError, StoreChangedError
from rube.api.keys import ObjectKey
from rube.cli.local import APISERVER, RUBELET, RUCTL, LocalCluster, local_cluster, run
from tests.real.cluster_calls import UNIT_TYPE, check, client_of, put, sleeper, status_of, until

NODE = "worker-1"
REPOSITORY = Path(__file__).parents[2]
RUBE = APISERVER[:-1]
SIM = (*RUBE, "sim")
CONTROLLER = (*RUBE, "controller")


@dataclass
class Site:
    """A cluster that lives as long as this module's tests, which must leave it as they found it."""

    cluster: LocalCluster
    runner: asyncio.Runner

    def run(self, *argv: str, stdin: str = "") -> tuple[int, str]:
        """A command's exit code and what it printed."""
        return self.runner.run(run(argv, stdin=stdin.encode()))

    def ructl(self, *arguments: str, stdin: str = "") -> tuple[int, str]:
        return self.run(*RUCTL, "--server", self.cluster.address, *arguments, stdin=stdin)

    def call(self, body: Coroutine[Any, Any, None]) -> None:
        self.runner.run(body)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with asyncio.Runner() as runner:
        cluster = LocalCluster(tmp_path_factory.mktemp("site"))
        try:
            runner.run(cluster.start_apiserver())
            runner.run(cluster.start_rubelet(NODE))
            site = Site(cluster, runner)
            yield site
            check(site.ructl("list", "-t", "Unit"), 0, r"nothing matches")
            assert cluster.apiserver.running
            assert cluster.rubelets[NODE].running
            for daemon in (cluster.apiserver, *cluster.rubelets.values()):
                assert "Traceback" not in daemon.log.read_text(), daemon.log.read_text()
        finally:
            runner.run(cluster.stop())


# What users write

UNIT = 'metadata {{ namespace: "bad" name: "b" {} }}\nspec {{ [rube/api.systemd.Unit] {{ {} }} }}'.format
RUNNABLE = "service { exec { start: '/bin/true' } }"
DOCUMENTS = {
    "nothing to run": (UNIT("", ""), r"bad/b\): service\.exec\.start is missing: a service needs a command"),
    "much at once": (
        UNIT("", RUNNABLE.replace("} }", "} nice: 99 working_directory: 'x' type: ONESHOT restart: ALWAYS }")),
        r"service\.restart of a unit of type ONESHOT.*service\.nice 99 must be.*service\.working_directory 'x' is not",
    ),
    "malformed": (UNIT("", "")[:-1], r"<stdin>:2:6: the '\{' that opens spec is never closed"),
    "unknown field": (UNIT("", "titel: 1"), r"<stdin>:2:\d+: .*no field 'titel'"),
    "unknown type": (
        UNIT("", "").replace("Unit", "Unti"),
        r"<stdin>:2:9: unknown type .*Unti'; did you mean .*Unit'\?",
    ),
    "wrong field type": (UNIT("", "enabled: 'yes'"), r"<stdin>:2:\d+: enabled takes true or false, found"),
    "name": (
        UNIT("", "").replace('"b"', '"B_1"'),
        r"<stdin>:1:\d+: metadata\.name 'B_1' is not a DNS label: use 1 to 63",
    ),
    "stale revision": (
        UNIT("revision: 1", RUNNABLE),
        r"bad/b does not exist, but must; to create it, leave metadata\.revision",
    ),
    "stale uid": (
        UNIT('uid: "x"', RUNNABLE),
        r"bad/b does not exist, but must; to create it, leave metadata\.revision and .*uid out",
    ),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_bad_document_is_refused_with_its_place(site: Site, case: str) -> None:
    document, pattern = DOCUMENTS[case]
    check(site.ructl("put", stdin=document), 1, pattern)


COMMANDS = {
    "unknown type": (("list", "-t", "Unti"), r"'Unti' is not a type of object; did you mean 'Unit'"),
    "name": (("get", "-t", "Unit", "-n", "x", "A_B"), r"name 'A_B' is not a DNS label"),
    "selector": (("delete", "type = 'Unit', metadata { nam: 'x' }"), r"no field 'nam'; did you mean 'name'"),
    "labels": (("list", "-t", "Unit", "-l", "a=b=c"), r"label selector 'a=b=c', column 4"),
    "option": (("watch", "--typ", "Unit"), r"No such option '--typ'; did you mean '--type'"),
    "server": (
        ("list", "-t", "Unit", "--server", "nonsense"),
        r"--server: cannot use address 'nonsense': write HOST:PORT",
    ),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_a_wrong_command_line_is_wrong_usage(site: Site, case: str) -> None:
    arguments, pattern = COMMANDS[case]
    check(site.ructl(*arguments), 2, pattern + r".*see 'ructl \w+ --help'")


# Where it is sent to


def test_a_server_that_is_not_there_is_named_with_the_remedy(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for server, why in (
        (f"127.0.0.1:{port}", "connection refused"),
        (
            "no-such-host.invalid:7823",
            "domain name not found|errors resolving|name or service not known|failure in name resolution",
        ),
    ):
        for command in ("list", "watch"):
            outcome = site.run(*RUCTL, command, "-t", "Unit", "--server", server)
            check(
                outcome,
                1,
                rf"no server answers at {server} \(({why})\): start one with 'rube up' .* --server HOST:PORT",
            )


def test_a_position_that_the_store_does_not_have_is_an_error_that_tells_it_apart(site: Site) -> None:
    async def body() -> None:
        async with client_of(site.cluster) as client:
            here = await client.list_page(ListRequest(type=UNIT_TYPE))
            ahead = WatchRequest(type=UNIT_TYPE, after_revision=here.revision + 1_000_000)
            restored = WatchRequest(type=UNIT_TYPE, after_revision=1, store_id="another")
            for request, error in ((ahead, RevisionAheadError), (restored, StoreChangedError)):
                with pytest.raises(error, match=r"ahead of the store, which is at|of store another, but this is store"):
                    await anext(client.watch(request))

    site.call(body())


# How daemons are started


@dataclass(frozen=True)
class Start:
    """A command line, with {…} for what the test has prepared, and how it must end."""

    argv: tuple[str, ...]
    code: int
    says: str


STORE, ANY_PORT = "--store", ("--listen", "127.0.0.1:0")
STARTS = {
    "store in use": Start(
        (*APISERVER, STORE, "sqlite:///{used}", *ANY_PORT), 1, r"store\.db is in use by another process: stop"
    ),
    "damaged store": Start(
        (*APISERVER, STORE, "sqlite:///{noise}", *ANY_PORT), 1, r"noise\.db is damaged .*restore a backup"
    ),
    "foreign store": Start(
        (*APISERVER, STORE, "sqlite:///{foreign}", *ANY_PORT), 1, r"another program's database: choose"
    ),
    "store below a file": Start(
        (*APISERVER, STORE, "sqlite:///{file}/x.db", *ANY_PORT), 1, r"file/x\.db cannot be created"
    ),
    "store URL": Start(
        (*APISERVER, STORE, "etcdd://x", *ANY_PORT),
        2,
        r"'--store': store URL 'etcdd://x' is of no known kind; did you",
    ),
    "port in use": Start(
        (*APISERVER, STORE, "memory:", "--listen", "{address}"), 1, r"cannot listen on 127\.0\.0\.1:\d+: it is in"
    ),
    "address": Start(
        (*APISERVER, STORE, "memory:", "--listen", "7823"), 2, r"'--listen': cannot use address '7823': write HOST:"
    ),
    "socket": Start(
        (*APISERVER, STORE, "memory:", "--listen", "unix:{file}/x"), 1, r"there is no directory .*/file; create it"
    ),
    "controllers": Start(
        (*APISERVER, STORE, "memory:", "--controllers", "placment"), 2, r"there is no controller 'placment'"
    ),
    "controller's data": Start(
        (*CONTROLLER, "--data", "{file}/x"), 1, r"file/x cannot be created .*: choose a --data directory"
    ),
    "rubelet's data": Start(
        (*RUBELET, "--data", "{file}/x"), 1, r"file/x cannot be created .*: choose a --data directory"
    ),
    "rubelet's copy in use": Start(
        (*RUBELET, "--node", "w", "--data", "{node}"), 1, r"rubelet\.db is in use by another process"
    ),
    "no backup": Start(
        (*RUBE, "store", "restore", "{data}-2", "sqlite:///{data}"), 1, r"data-2 cannot be read \(No such file"
    ),
    "bad backup": Start(
        (*RUBE, "store", "restore", "{foreign}", "sqlite:///{data}"), 1, r"foreign.* is no backup: name a file"
    ),
    "node": Start((*RUBELET, "--node", "w_1", "--data", "{data}"), 2, r"'--node': node 'w_1' is not a DNS label"),
    "server": Start(
        (*RUBELET, "--server", "api:1,api", "--data", "{data}"), 2, r"'--server': cannot use address 'api': write"
    ),
    "scenario key": Start(
        (*SIM, "{misspelt}"), 2, r"misspelt\.yaml:\d+: unknown key .isolat. in .*; did you mean 'isolate'\?"
    ),
    "scenario time": Start(
        (*SIM, "{impossible}"), 2, r"impossible\.yaml:\d+: impossible time 333s: the scenario ends at 120s"
    ),
}


@pytest.fixture(scope="module")
def places(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | str]:
    """The files that the command lines of STARTS name."""
    directory = tmp_path_factory.mktemp("places")
    (directory / "file").touch()
    (directory / "noise.db").write_bytes(os.urandom(100_000))
    with sqlite3.connect(directory / "foreign.db") as foreign:
        foreign.execute("CREATE TABLE theirs (x)")
    foreign.close()
    scenario = (REPOSITORY / "scenarios/partition.yaml").read_text()
    (directory / "misspelt.yaml").write_text(scenario.replace("isolate:", "isolat:", 1))
    (directory / "impossible.yaml").write_text(scenario.replace("at: 33s", "at: 333s", 1))
    own = {name: directory / name for name in ("file", "data")}
    own |= {path.stem: path for path in directory.iterdir() if path.suffix}
    return {
        **own,
        "used": site.cluster.directory / "store.db",
        "node": site.cluster.node_directory(NODE),
        "address": site.cluster.address,
    }


@pytest.mark.parametrize("case", STARTS)
def test_a_daemon_that_cannot_start_says_why_and_ends(site: Site, places: dict[str, Path | str], case: str) -> None:
    start = STARTS[case]
    code, output = site.run(*(part.format(**places) for part in start.argv))
    assert code == start.code, output
    *before, last = output.splitlines()
    assert re.search(start.says, last), output
    assert all(line.startswith("time=") for line in before), output


def test_a_damaged_value_is_told_at_the_start_and_to_who_reads_it_and_the_rest_is_served(tmp_path: Path) -> None:
    async def main() -> None:
        async with local_cluster(tmp_path) as cluster, client_of(cluster) as client:
            for number in range(50):
                await put(client, sleeper(f"u{number}", description=f"marker-{number}-" + "x" * 500))
            await cluster.apiserver.stop()
            path = tmp_path / "store.db"
            image = path.read_bytes()
            assert b"marker-25-" in image
            path.write_bytes(image.replace(b"marker-25-", b"marker-2!-"))
            await cluster.start_apiserver()

            async def named() -> bool:
                said = r"reads of them fail: .*real/u25.*rube store salvage"
                return bool(re.search(said, cluster.apiserver.log.read_text()))

            await until("the log names the damaged value", named)
            key = ObjectKey(UNIT_TYPE, "real", "u25").to_proto()
            with pytest.raises(DataLossError, match=r"real/u25.* does not match its checksum: `rube store salvage`"):
                await client.get(GetRequest(key=key))
            other = ObjectKey(UNIT_TYPE, "real", "u26").to_proto()
            assert (await client.get(GetRequest(key=other))).object.metadata.name == "u26"
            await put(client, sleeper("new"))

    asyncio.run(main())


def test_an_apiserver_whose_controllers_cannot_run_serves_on_and_says_so_in_one_line(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "controllers.db").write_bytes(os.urandom(10_000))
        cluster = LocalCluster(tmp_path, apiserver_args=["--data", str(tmp_path)])
        try:
            await cluster.start_apiserver()
            async with client_of(cluster) as client:
                await put(client, sleeper("a"))

            async def told() -> bool:
                log = cluster.apiserver.log.read_text()
                return bool(re.search(r"the controllers start again in 5 s: .*controllers\.db is damaged", log))

            await until("the log names the damaged file", told)
            assert "Traceback" not in cluster.apiserver.log.read_text()
        finally:
            assert await cluster.apiserver.stop() == 0

    asyncio.run(main())


# Units


def test_units_that_misbehave_are_told_apart_and_can_be_removed(site: Site) -> None:
    async def body() -> None:
        async with client_of(site.cluster) as client:
            await put(client, *map(odd_unit, ODD_UNITS))
            for name, expected in ODD_UNITS.items():

                async def so(name: str = name, expected: Odd = expected) -> bool:
                    status = await status_of(client, name)
                    shown = (status.active_state, status.result, status.exit_status)
                    return shown == expected.status and expected.says in status.message

                await until(f"{name} shows {expected}", so)
            stubborn = (await status_of(client, "stubborn")).main_pid
            keys = [ObjectKey(UNIT_TYPE, "real", name).to_proto() for name in ODD_UNITS]
            await client.delete(DeleteRequest(keys=keys))

            async def gone() -> bool:
                return not Path(f"/proc/{stubborn}").exists() and not odd_processes()

            await until("no process of theirs is left", gone)

    site.call(body())


@dataclass(frozen=True)
class Odd:
    """A unit, and what its status must show: active state, result, exit status, and a part of its message."""

    start: str
    status: tuple[str, str, int]
    says: str = ""
    type: Service.Type.ValueType = Service.EXEC


ODD_UNITS = {
    "absent": Odd("/no/such/program", ("failed", "exit-code", 203), "exec.start: /no/such/program: no such file"),
    "fails": Odd("sh -c 'exit 7'", ("failed", "exit-code", 7)),
    "forks-away": Odd("sh -c 'setsid sleep 86399 & exit 0'", ("inactive", "success", 0)),
    "stubborn": Odd("sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'", ("active", "success", 0)),
}


def odd_unit(name: str) -> Object:
    odd = ODD_UNITS[name]
    spec = Unit()
    spec.service.type = odd.type
    spec.service.exec.start.append(odd.start)
    spec.service.time.timeout = 1
    obj = Object(metadata=Metadata(namespace="real", name=name))
    obj.spec.Pack(spec, "rube/")
    return obj


def odd_processes() -> list[str]:
    """The process that a unit that forked away left behind."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_bytes() == b"sleep\x0086399\0":
                found.append(entry.parent.name)
        except OSError:
            continue
    return found
