"""`rube store`: the life of the data."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rube.cli.daemon import Stop, announce, run_daemon
from rube.cli.options import checked
from rube.cli.real_host import real_host
from rube.store import back_up
from rube.store import restore as restore_store
from rube.store.urls import parse_store_url

_store_option = click.option(
    "--store", "store_url", metavar="URL", required=True, callback=checked(parse_store_url), help="sqlite:///path"
)


@click.group()
def store() -> None:
    """Back up and restore a store."""


@store.command()
@_store_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(store_url: str, file: Path) -> None:
    """Write a consistent copy of a SQLite store to a new FILE, also while an apiserver serves it.

    \b
    Example:
      rube store backup --store sqlite:////var/lib/rube/store.db monday.db
    """

    async def main(stop: Stop) -> None:
        await back_up(store_url, file)
        announce(f"rube store backup: {file}, {file.stat().st_size} bytes")

    sys.exit(run_daemon("rube store backup", main, log_level="warning"))


@store.command()
@_store_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def restore(store_url: str, file: Path) -> None:
    """Make a store of a copy that `rube store backup` wrote. Move what was there away first, and stop its apiserver.

    The store gets a new id, by which clients and nodes know that history went back, and list everything again.

    \b
    Example:
      rube store restore --store sqlite:////var/lib/rube/store.db monday.db
    """

    async def main(stop: Stop) -> None:
        store_id = await restore_store(real_host(), file, store_url)
        announce(f"rube store restore: {store_url}, id {store_id}")

    sys.exit(run_daemon("rube store restore", main, log_level="warning"))
