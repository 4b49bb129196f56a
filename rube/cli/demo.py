"""`make demo`: the main job on this machine, then in a simulated one. Ends by itself; exit code 0 if all of it held."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import click
from google.protobuf import text_format

import rube.api.systemd_pb2
from rube.api import Event, Object
from rube.api.errors import RubeError
from rube.cli.local import RUCTL, LocalCluster, local_cluster, run
from rube.shipped import shipped_directory
from rube.transport.forwarder import Forwarder

HELLO = shipped_directory("examples") / "01-hello-unit" / "hello.textproto"
INDEXER_FILE = shipped_directory("examples") / "02-many-fields" / "indexer.textproto"
NODE = "worker-1"
CUT_S = 5.0
WAIT_S_MAX = 30.0
UNIT = ("-t", "api.systemd.Unit", "-n", "default", "hello")
INDEXER = ("-t", "api.systemd.Unit", "-n", "system", "indexer")


class DemoError(Exception):
    """Something did not happen as promised."""


def title(text: str) -> None:
    click.secho(f"\n== {text}", fg="cyan", bold=True)


def say(text: str) -> None:
    click.echo(f"   {text}")


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="rube-") as directory:
        await on_real_processes(Path(directory))
    await in_simulation()
    click.secho("\nAll of it held. Next: make up, then ructl --help.", fg="green")


async def on_real_processes(directory: Path) -> None:
    title("An apiserver on SQLite and a rubelet, as real processes on loopback")
    async with local_cluster(directory) as cluster, Forwarder("127.0.0.1:0", cluster.address) as wire:
        await cluster.start_rubelet(NODE, server=wire.address)
        say(f"apiserver {cluster.address} (pid {cluster.apiserver.pid}), store {directory / 'store.db'}")
        say(f"rubelet {NODE} (pid {cluster.rubelets[NODE].pid}), which connects through a forwarder at {wire.address}")
        async with watching(cluster):
            url = await run_units(cluster, directory)
            await lose_the_network(cluster, wire, directory, url)
            await kill_the_apiserver(cluster, url)
            await delete_the_units(cluster, url)
    say("every process is gone")


async def run_units(cluster: LocalCluster, directory: Path) -> str:
    """Puts both examples and waits until they are as their status must say. Returns the URL of the web server."""
    title("Two units: a small web server, and the example whose pid file never appears")
    url = f"http://127.0.0.1:{free_port()}/"
    hello = directory / "hello.textproto"
    hello.write_text(HELLO.read_text().replace("8780", url.rsplit(":")[-1].strip("/")))
    await ructl(cluster, "put", str(hello), show=f"ructl put {hello.name}   # on the free port {url}")
    await ructl(cluster, "put", str(INDEXER_FILE), show="ructl put indexer.textproto")
    await until("the web server answers", lambda: answers(url))
    say(f"GET {url} → {(await fetch(url)).strip()!r}")
    await until("the indexer's status says why it fails", lambda: status_says(cluster, INDEXER, 'result: "protocol"'))
    click.echo(await ructl(cluster, "list", "-t", "api.systemd.Unit"))
    return url


async def lose_the_network(cluster: LocalCluster, wire: Forwarder, directory: Path, url: str) -> None:
    title(f"The rubelet is cut off for {CUT_S:.0f} s while its unit is changed and its process is killed")
    killed = await main_pid(cluster)
    wire.stall()
    hello = directory / "hello.textproto"
    hello.write_text(hello.read_text().replace("Hello from Rube", "Hello again from Rube"))
    await ructl(cluster, "put", str(hello))
    code, output = await run(["kill", "-9", str(killed)])
    if code != 0:
        raise DemoError(f"kill -9 {killed}: {output}")
    say(f"kill -9 {killed}   # the web server")
    await asyncio.sleep(CUT_S)
    say(f"GET {url} → {(await fetch(url)).strip()!r}   # restarted on the node alone, from its own copy")
    wire.heal()
    await until("the change arrives", lambda: answers(url, "Hello again"))
    say(f"GET {url} → {(await fetch(url)).strip()!r}   # healed: the change has arrived")


async def kill_the_apiserver(cluster: LocalCluster, url: str) -> None:
    title("kill -9 of the apiserver, and its restart on the same store")
    before = await ructl(cluster, "list", "-t", "api.systemd.Unit", "-o", "name", show="")
    pid = cluster.apiserver.pid
    await cluster.apiserver.kill()
    say(f"kill -9 {pid}   # the apiserver")
    say(f"GET {url} → {(await fetch(url)).strip()!r}   # units don't need it")
    await cluster.start_apiserver()
    after = await ructl(cluster, "list", "-t", "api.systemd.Unit", "-o", "name")
    if before != after:
        raise DemoError(f"lost by the restart: {before!r} became {after!r}")
    say("nothing was lost; the watch goes on below, through the same process")


async def delete_the_units(cluster: LocalCluster, url: str) -> None:
    title("The units are deleted")
    await ructl(cluster, "delete", *UNIT)
    await ructl(cluster, "delete", 'type = "api.systemd.Unit", metadata { namespace: "system", name: "indexer" }')
    await until("the web server is gone", lambda: is_silent(url))
    say(f"GET {url} → no answer: the process is gone")
    await asyncio.sleep(0.5)  # so that the watch has printed its events


async def in_simulation() -> None:
    title("The same classes in a simulated world: rube sim partition")
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "rube.cli.main", "sim", "partition")
    if await process.wait() != 0:
        raise DemoError("the simulated partition did not end well")


@contextlib.asynccontextmanager
async def watching(cluster: LocalCluster) -> AsyncIterator[None]:
    """Prints what `ructl watch` prints, beside everything else, until the block ends."""
    argv = [*RUCTL, "--server", cluster.address, "watch", "-t", "api.systemd.Unit"]
    click.echo("   $ ructl watch -t api.systemd.Unit   # its events in short, marked |")
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    printer = asyncio.create_task(print_events(process))
    try:
        yield
    finally:
        process.terminate()
        await process.wait()
        await printer


async def print_events(process: asyncio.subprocess.Process) -> None:
    """One line for each event block; the blocks are parsed back, as any program could."""
    assert process.stdout is not None
    block: list[str] = []
    while line := (await process.stdout.readline()).decode():
        if line.strip():
            block.append(line)
        if line.rstrip() == "}":
            click.secho(f"   | {summary(''.join(block))}", dim=True)
            block.clear()


def summary(block: str) -> str:
    event = text_format.Parse(block, Event())
    kind = event.WhichOneof("event")
    assert kind is not None
    obj: Object = getattr(event, kind)
    status = rube.api.systemd_pb2.UnitStatus()
    obj.status.Unpack(status)
    key = f"{obj.metadata.namespace}/{obj.metadata.name}"
    node = obj.metadata.labels.get("node", "-")
    state = f"{status.active_state} ({status.sub_state}) {status.result}" if status.active_state else "-"
    return f"{kind} {key}  revision {obj.metadata.revision}  node {node}  {state}"


async def ructl(cluster: LocalCluster, *args: str, show: str | None = None) -> str:
    """Runs ructl and prints the command; an empty `show` prints nothing."""
    if show is None:
        show = "ructl " + " ".join(f"'{arg}'" if " " in arg else arg for arg in args)
    if show:
        click.secho(f"   $ {show}", bold=True)
    code, output = await run([*RUCTL, "--server", cluster.address, *args])
    if code != 0:
        raise DemoError(f"ructl {' '.join(args)} ended with {code}: {output.strip()}")
    return output


async def status_says(cluster: LocalCluster, unit: tuple[str, ...], text: str) -> bool:
    return text in await ructl(cluster, "get", *unit, show="")


async def main_pid(cluster: LocalCluster) -> int:
    obj = text_format.Parse(await ructl(cluster, "get", *UNIT, show=""), Object())
    status = rube.api.systemd_pb2.UnitStatus()
    obj.status.Unpack(status)
    return status.main_pid


async def until(what: str, holds: Callable[[], Awaitable[bool]]) -> None:
    deadline = asyncio.get_running_loop().time() + WAIT_S_MAX
    while not await holds():
        if asyncio.get_running_loop().time() > deadline:
            raise DemoError(f"not within {WAIT_S_MAX:.0f} s: {what}")
        await asyncio.sleep(0.05)


async def fetch(url: str) -> str:
    return await asyncio.to_thread(_fetch, url)


def _fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=2) as answer:
        body: bytes = answer.read()
    return body.decode()


async def answers(url: str, text: str = "") -> bool:
    try:
        return text in await fetch(url)
    except OSError:
        return False


async def is_silent(url: str) -> bool:
    return not await answers(url)


def free_port() -> int:
    """Returns a port that was free just now."""
    import socket  # noqa: TID251 (asks the machine for a port)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (DemoError, RubeError) as error:
        click.secho(f"make demo: {error}", fg="red", err=True)
        sys.exit(1)
