"""`rube backup` and `rube restore`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rube import store
from rube.cli.daemon import Stop, announce, run_daemon
from rube.cli.options import checked
from rube.cli.real_host import real_host
from rube.store.storage import parse_store_url

_store_option = click.option(
    "--store", "store_url", metavar="URL", required=True, callback=checked(parse_store_url), help="sqlite:///path"
)


@click.command()
@_store_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(store_url: str, file: Path) -> None:
    """Write a consistent copy of a SQLite store to a new FILE, also while an apiserver serves it.

    \b
    Example:
      rube backup --store sqlite:////var/lib/rube/store.db monday.db
    """

    async def main(stop: Stop) -> None:
        await store.back_up(store_url, file)
        announce(f"rube backup: {file}, {file.stat().st_size} bytes")

    sys.exit(run_daemon("rube backup", main, log_level="warning"))


@click.command()
@_store_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def restore(store_url: str, file: Path) -> None:
    """Make a store of a copy that `rube backup` wrote. Move what was there away first, and stop its apiserver.

    The store gets a new id, by which clients and nodes know that history went back, and list everything again.

    \b
    Example:
      rube restore --store sqlite:////var/lib/rube/store.db monday.db
    """

    async def main(stop: Stop) -> None:
        store_id = await store.restore(real_host(), file, store_url)
        announce(f"rube restore: {store_url}, id {store_id}")

    sys.exit(run_daemon("rube restore", main, log_level="warning"))
