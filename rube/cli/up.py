"""`rube up`: a development cluster in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from rube.cli.daemon import Stop, announce, run_daemon
from rube.cli.lines import say
from rube.cli.local import LocalCluster, local_cluster
from rube.cli.options import DEFAULT_ADDRESS, check_server, checked, make_data_directory
from rube.cli.tls import insecure_option, refuse_exposure
from rube.shipped import shipped_directory

NODES_MAX = 20


@click.command()
@click.option(
    "--nodes", type=click.IntRange(1, NODES_MAX), metavar="N", default=1, show_default=True, help="How many rubelets."
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=DEFAULT_ADDRESS,
    show_default=True,
    callback=checked(check_server),
    help="The apiserver's.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the store and the nodes' data here.  [default: a temporary directory, removed at the end]",
)
@insecure_option
def up(nodes: int, listen: str, data: Path | None, insecure: bool) -> None:
    """Runs a development cluster in the foreground: an apiserver on SQLite and rubelets with supervised units.

    Ctrl-C ends it, and every unit with it. With --data, objects are there again the next time.
    """

    async def main(stop: Stop) -> None:
        refuse_exposure([listen], None, insecure)
        arguments = ["--insecure"] if insecure else []
        with data_directory(data) as directory:
            async with local_cluster(directory, listen=listen, apiserver_args=arguments) as cluster:
                for number in range(1, nodes + 1):
                    await cluster.start_rubelet(f"worker-{number}")
                announce(what_to_try(cluster))
                await until_stopped(stop, cluster)
                say("stopping the daemons and their units …")

    sys.exit(run_daemon("rube up", main, log_level="info"))


@contextlib.contextmanager
def data_directory(data: Path | None) -> Iterator[Path]:
    if data is None:
        with tempfile.TemporaryDirectory(prefix="rube-up-") as directory:
            yield Path(directory)
    else:
        make_data_directory(data)
        yield data.resolve()


async def until_stopped(stop: Stop, cluster: LocalCluster) -> None:
    """Raises FailedPreconditionError if a daemon ends by itself."""
    daemons = [cluster.apiserver, *cluster.rubelets.values()]
    ends = {asyncio.create_task(daemon.wait()): daemon for daemon in daemons}
    stopped = asyncio.create_task(stop.wait())
    done, pending = await asyncio.wait([stopped, *ends], return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task, daemon in ends.items():
        if task in done and not stop.is_set():
            raise daemon.failed(f"ended by itself with exit code {task.result()}")


def what_to_try(cluster: LocalCluster) -> str:
    server = "" if cluster.address == DEFAULT_ADDRESS else f"export RUBE_SERVER={cluster.address}\n    "
    node = next(iter(cluster.rubelets))
    hello = shlex.quote(str(shipped_directory("examples") / "01-hello-unit" / "hello.textproto"))
    return f"""
A cluster is up: apiserver {cluster.address}, {", ".join(cluster.rubelets)}. Logs and data: {cluster.directory}
Try, in another shell:

    export PATH="{Path(sys.executable).parent}:$PATH"
    {server}ructl put {hello}
    ructl wait -t Unit hello --for active
    curl http://127.0.0.1:8780/
    ructl list -t Unit
    ructl describe -t Unit hello
    ructl list -t Unit --node-socket {cluster.node_socket(node)}
    ructl delete -t Unit hello

Ctrl-C stops it all.
"""
