"""`rube store`: the life of the data."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from rube.api.errors import FailedPreconditionError, InvalidArgumentError, RubeError
from rube.cli.daemon import Stop, run_daemon
from rube.cli.options import checked
from rube.cli.progress import ProgressBar
from rube.cli.real_host import real_host
from rube.cli.salvage import salvage_json, salvage_text
from rube.console import WholeGroup
from rube.host import Host
from rube.store import RealStorage, open_store, parse_store_url
from rube.store.backends import StoreStat, backend_of
from rube.store.maintenance import (
    BackupSource,
    BackupTarget,
    Copied,
    FileSource,
    FileTarget,
    StreamSource,
    StreamTarget,
    back_up,
    migrate,
    restore,
    salvage,
    verify_backup,
)
from rube.store.urls import FORMS

_T = TypeVar("_T")
# For stores in files, which salvage reads.
_SALVAGE = "`rube store salvage` what is left, or restore a backup"
LOSS = 3
"""The exit code of a salvage after which something is lost."""
_KIB = 1024


def _check_url(url: str) -> None:
    """Raises InvalidArgumentError for what names no store that outlives a process."""
    if parse_store_url(url).scheme == "memory":
        raise InvalidArgumentError(
            "memory: is only in the process that has it, and nothing is there for another: name a store on disk or on "
            "a server"
        )


def _url_argument(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.argument(name, metavar=name.upper(), callback=checked(_check_url))


def _check_file(file: str) -> None:
    """Raises InvalidArgumentError for a URL: the arguments are easily exchanged."""
    if _is_url(file):
        raise InvalidArgumentError(f"{file} is a store's URL: write 'rube store backup URL FILE', 'restore FILE URL'")


_file_argument = click.argument("file", metavar="FILE", callback=checked(_check_file))


@click.group(cls=WholeGroup)
def store() -> None:
    """Back up, restore, check and move a store.

    \b
    URL is one of
      sqlite:///path                         rocksdb:///path
      etcd://host:2379[,host:2379…][/prefix] mysql://user@host/database
      raft+sqlite:///path                    raft+rocksdb:///path
    where raft+… is the disk of one member, read and filled without the others.
    """


@store.command()
@_url_argument("url")
@_file_argument
def backup(url: str, file: str) -> None:
    """Writes the objects of the store at URL to a new FILE (-: stdout), also while apiservers serve it.

    FILE holds the newest state at one revision, not the history, and can be restored into a store of any kind. It
    grows as FILE.partial: a file named FILE is complete.

    \b
    Examples:
      rube store backup sqlite:////var/lib/rubeapiserver/store.db monday.rube
      rube store backup etcd://10.0.0.1:2379 - | zstd > monday.rube.zst
    """

    async def work(host: Host) -> None:
        with ProgressBar("rube store backup", "objects") as bar:
            copied = await back_up(host, url, _target(file), bar.update)
        size = "" if file == "-" else f", {_size(Path(file).stat().st_size)}"
        _tell(f"{file}: {copied.records} objects of store {copied.store_id} at revision {copied.revision}{size}", file)

    _run("backup", work, left=f"there is no {file}" if file != "-" else "the written part is no complete backup")


@store.command("restore")
@_file_argument
@_url_argument("url")
def restore_command(file: str, url: str) -> None:
    """Makes a new store at URL of the backup FILE (-: stdin).

    There must be no store at URL: move an old one away and stop its apiservers. The new store has an id of its own, by
    which clients and nodes know that history went back, and list everything again. Until the restore has succeeded the
    store refuses to open; an interrupted one can be run again.

    \b
    Examples:
      rube store restore monday.rube sqlite:////var/lib/rubeapiserver/store.db
      zstd -dc monday.rube.zst | rube store restore - etcd://10.0.0.1:2379/rube
    """

    async def work(host: Host) -> None:
        with ProgressBar("rube store restore", "bytes") as bar:
            copied, store_id = await restore(host, _source(file), url, bar.update)
        _tell(_made(url, store_id, copied, f"store {copied.store_id}"))

    _run("restore", work, left=f"{_shown(url)} refuses to open until a restore has succeeded")


@store.command("migrate")
@_url_argument("from")
@_url_argument("to")
@click.option("--online", is_flag=True, help="Take the state as it is at the start, though FROM is being written to.")
def migrate_command(to: str, online: bool, **arguments: str) -> None:
    """Makes a new store at TO of the newest state of the store at FROM, whatever their kinds.

    Stop the apiservers of FROM first, and start them on TO afterwards. Writes to FROM after the copy began are not in
    TO. If FROM has moved when the copy ends, TO is not accepted (unless --online). FROM stays as it is.

    \b
    Example:
      rube store migrate sqlite:///rube.db etcd://10.0.0.1:2379,10.0.0.2:2379/rube
    """
    source = arguments["from"]

    async def work(host: Host) -> None:
        with ProgressBar("rube store migrate", "objects") as bar:
            copied, store_id = await migrate(host, source, to, bar.update, online=online)
        _tell(_made(to, store_id, copied, _shown(source)))

    _run("migrate", work, left=f"{_shown(to)} refuses to open until a migration or restore has succeeded")


@store.command()
@click.argument("place", metavar="URL|FILE")
def verify(place: str) -> None:
    """Reads every record of a store, or of a backup FILE (-: stdin), against its checksum, and past all damage.

    Prints a line for each thing that is damaged, with its key and revision, and a summary. Exit code 1 if there is any.
    Apiservers may serve the store meanwhile.

    \b
    Examples:
      rube store verify sqlite:////var/lib/rubeapiserver/store.db
      rube store verify monday.rube
    """
    damaged = 0

    async def work(host: Host) -> None:
        nonlocal damaged
        damaged = await (_verify_store(host, place) if _is_url(place) else _verify_file(place))

    if _is_url(place):
        _checked_url(place)
    _run("verify", work, left="it was not read to its end")
    sys.exit(1 if damaged else 0)


async def _verify_store(host: Host, url: str) -> int:
    parsed = parse_store_url(url)
    records = damaged = 0
    with ProgressBar("rube store verify", "records") as bar:
        async for checked_ in backend_of(parsed).verify(host, parsed):
            records = checked_.records
            if checked_.damage is not None:
                damaged += 1
                bar.say(f"{checked_.damage.where}: {checked_.damage.what}")
            bar.update(records, checked_.records_total)
    _tell(f"{parsed}: {records} records read, {_damaged(damaged, 'restore a backup' if parsed.servers else _SALVAGE)}")
    return damaged


async def _verify_file(file: str) -> int:
    source, records, damaged, of = _source(file), 0, 0, ""
    with ProgressBar("rube store verify", "bytes") as bar:
        async for found in verify_backup(source):
            records = found.records
            if found.header is not None:
                of = f" of store {found.header.store_id} at revision {found.header.revision}"
            if found.damage is not None:
                damaged += 1
                bar.say(f"{found.damage.where}: {found.damage.what}")
            bar.update(found.done_bytes, source.size_bytes)
            await asyncio.sleep(0)
    _tell(f"{source.name}: {records} sound records{of}, {_damaged(damaged, 'restore a backup')}")
    return damaged


def _damaged(count: int, remedy: str) -> str:
    return f"{count} damaged: {remedy}" if count else "no damage"


@store.command("salvage")
@_url_argument("url")
@_url_argument("to")
@click.option("--older", is_flag=True, help="Where a key's newest value is lost, take the newest that is whole.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def salvage_command(url: str, to: str, older: bool, as_json: bool) -> None:
    """Makes a new store at TO from the remains of the damaged store at URL, and lists the losses.

    For SQLite and RocksDB stores, also a member's (raft+sqlite:///…), whose process has ended. URL's files are not
    changed. Each key whose newest value is damaged is named with its revision, and is not in TO (unless --older).
    Where writes of unknown keys are lost, keys that were last written before them are kept, and may be older than they
    were. The new store has an id of its own, as after a restore.

    Exit code: 0 if all of the present is in TO, 3 if something is lost or may be, 1 if nothing could be salvaged.

    \b
    Example:
      rube store salvage sqlite:////var/lib/rubeapiserver/store.db sqlite:////var/lib/rubeapiserver/new.db
    """
    lost = False

    async def work(host: Host) -> None:
        nonlocal lost
        with ProgressBar("rube store salvage", "objects") as bar:
            salvaged = await salvage(host, RealStorage(), url, to, bar.update, older=older)
        lost = salvaged.lost
        print(json.dumps(salvage_json(url, to, salvaged)) if as_json else salvage_text(to, salvaged))

    _run("salvage", work, left=f"{_shown(to)} refuses to open until a salvage, migration or restore has succeeded")
    sys.exit(LOSS if lost else 0)


@store.command()
@_url_argument("url")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def stat(url: str, as_json: bool) -> None:
    """Shows a store's id, format, revisions, number of keys and size, also while apiservers serve it.

    \b
    Example:
      rube store stat --json etcd://10.0.0.1:2379
    """

    async def work(host: Host) -> None:
        parsed = parse_store_url(url)
        found = await backend_of(parsed).stat(host, parsed)
        if as_json:
            print(json.dumps({"url": str(parsed), **found._asdict()}))
        else:
            _print_stat(str(parsed), found)

    _run("stat", work, left="nothing was changed")


def _print_stat(url: str, found: StoreStat) -> None:
    rows = {
        "url": url,
        "store id": found.store_id,
        "format": found.format,
        "revision": str(found.revision),
        "oldest revision": str(found.oldest_revision),
        "keys": str(found.keys),
        "size": _size(found.size_bytes) if found.size_bytes else "unknown",
    }
    for name, value in rows.items():
        print(f"{name:<16} {value}")


@store.command()
@_url_argument("url")
@click.option(
    "--revision", type=click.IntRange(min=0), metavar="REVISION", help="The oldest that is kept.  [default: the newest]"
)
@click.option("--history", type=click.IntRange(min=0), metavar="N", help="Keep so many revisions before the newest.")
def compact(url: str, revision: int | None, history: int | None) -> None:
    """Forgets states that are visible only before a revision. Watches and paged lists from before it begin again.

    Apiservers do so by themselves (--history), and one that has a SQLite or RocksDB store open must do it itself. The
    file of a SQLite store does not shrink: later writes take the room.

    \b
    Examples:
      rube store compact sqlite:///rube.db
      rube store compact --history 1000 etcd://10.0.0.1:2379
    """
    if revision is not None and history is not None:
        raise click.UsageError("give --revision or --history, not both")

    async def work(host: Host) -> None:
        parsed = parse_store_url(url)
        if parsed.is_member:  # opening it would be to join the group
            raise FailedPreconditionError(f"{parsed} belongs to a group, which compacts itself: `apiserver --history`")
        # Opening would make a missing store.
        await (await backend_of(parsed).open_reader(host, parsed)).close()
        try:
            opened = await open_store(host, url)
        except FailedPreconditionError as error:
            raise FailedPreconditionError(
                f"{error.message}; an apiserver compacts its store itself: --history"
            ) from error
        try:
            target = revision if revision is not None else max(0, opened.revision - (history or 0))
            await opened.compact(target)
        finally:
            await opened.close()
        found = await backend_of(parsed).stat(host, parsed)
        _tell(f"{parsed}: oldest revision {found.oldest_revision}, newest {found.revision}, {found.keys} keys")

    _run("compact", work, left="the next compaction removes the rest")


def _run(name: str, work: Callable[[Host], Coroutine[Any, Any, _T]], *, left: str) -> None:
    """Runs it to its end, or to the first signal, and exits unless it succeeded."""

    async def main(stop: Stop) -> None:
        await _until_stopped(stop, work(real_host()), left)

    code = run_daemon(f"rube store {name}", main, log_level="warning", managed=False)
    if code:
        sys.exit(code)


async def _until_stopped(stop: Stop, work: Coroutine[Any, Any, _T], left: str) -> _T:
    """Returns the result of the work. A signal ends it in good order: RubeError that says what is left."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
    stopping.cancel()
    if task.cancelled():
        raise RubeError(f"interrupted: {left}")
    return task.result()


def _target(file: str) -> BackupTarget:
    if file != "-":
        return FileTarget(Path(file))
    if sys.stdout.isatty():
        raise FailedPreconditionError(
            "stdout is a terminal, and a backup is not for reading: redirect it, or name a FILE"
        )
    return StreamTarget(sys.stdout.buffer, "stdout")


def _source(file: str) -> BackupSource:
    if file != "-":
        return FileSource(Path(file))
    if sys.stdin.isatty():
        raise FailedPreconditionError("stdin is a terminal, where no backup comes from: redirect it, or name a FILE")
    return StreamSource(sys.stdin.buffer, "stdin")


def _made(url: str, store_id: str, copied: Copied, source: str) -> str:
    """The revision is the source's: not every kind of store keeps it."""
    return (
        f"{_shown(url)}: new store {store_id}, {copied.records} objects of {source} at its revision {copied.revision}"
    )


def _tell(line: str, file: str = "") -> None:
    """The result. Not on stdout if that is where the backup goes."""
    print(line, file=sys.stderr if file == "-" else sys.stdout, flush=True)


def _is_url(place: str) -> bool:
    scheme, colon, _ = place.partition(":")
    return "://" in place or (bool(colon) and scheme in FORMS)


def _checked_url(place: str) -> None:
    try:
        _check_url(place)
    except InvalidArgumentError as error:
        raise click.BadParameter(error.message, param_hint="URL|FILE") from error


def _shown(url: str) -> str:
    """The URL without its password."""
    return str(parse_store_url(url))


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < _KIB:
            return f"{size:.4g} {unit}"
        size /= _KIB
    return f"{size:.4g} TiB"
