"""`ructl types`: the types of objects that a cluster has, and types of one's own for it."""

from __future__ import annotations

from collections.abc import Sequence

import click
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from rube.api import Object, PutRequest, PutResponse, Resource, Type
from rube.api.errors import NotFoundError, RubeError
from rube.api.keys import TYPE_TYPE, ObjectKey
from rube.api.types import BUILTIN, Kind
from rube.api.types.evolution import breakages
from rube.api.types.pushed import kind_from
from rube.compiler import COMPILERS, compile_protos
from rube.console import WholeGroup
from ructl.cluster_types import TYPES
from ructl.completion import complete_types
from ructl.connection import Connection, ask, one_line
from ructl.options import connection_options, dry_run_option, server_options, server_target, target
from ructl.output import tell

_WORDS = {
    PutResponse.CREATED: ("pushed", "would push"),
    PutResponse.CHANGED: ("changed", "would change"),
    PutResponse.UNCHANGED: ("unchanged", "unchanged"),
}


compiler_option = click.option(
    "--compiler", type=click.Choice(COMPILERS), help="Compile with this one.  [default: the first that is installed]"
)


@click.group("types", cls=WholeGroup)
def command() -> None:
    """Lists the types of objects, and pushes types of one's own.

    \b
    ructl types push backup.proto
    ructl types list
    ructl types get acme.Backup
    ructl types delete acme.Backup

    A message is a type once it has the option `(api.resource)`:

    \b
    import "rube/api/resource.proto";
    message Backup {
      option (api.resource) = { status: "acme.BackupStatus" short_names: "bk" };
      string schedule = 1;
    }

    Nothing restarts: `ructl put`, `list`, `explain` and all the others know the type at once.
    """


@command.command("push", short_help="Push the types in .proto files.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path())
@click.option("-I", "--include", "includes", multiple=True, metavar="DIR", help="Look up imports here.")
@compiler_option
@click.option("--dry-run", is_flag=True, help="Compare with what is stored, and store nothing.")
@click.option(
    "--allow-breaking",
    is_flag=True,
    help="Also a version that programs of the present one may misread. Stored objects must fit it all the same.",
)
@server_options
def push(
    files: tuple[str, ...],
    includes: tuple[str, ...],
    compiler: str | None,
    dry_run: bool,
    allow_breaking: bool,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Compiles .proto files, and makes types of the messages that have the option `(api.resource)`.

    \b
    ructl types push backup.proto
    ructl types push --dry-run backup.proto
    ructl types push -I protos protos/acme/backup.proto
    ructl types push --compiler buf backup.proto
    ructl types push acme.Backup

    The last one is a type that an installed Python package brings, by its entry point `rube.types`.

    The server compares a new version with every stored object, and with what is written meanwhile: it holds for all of
    them, or is refused with the objects that it does not fit. All types of one push are stored at one revision or none.
    """
    objects = types_in(files, includes, compiler)
    request = PutRequest(objects=objects, validate_only=dry_run, allow_breaking=allow_breaking)
    where = server_target(server, timeout_s)
    for obj, stored in zip(objects, ask(where, lambda connection: _stored(connection, objects)), strict=True):
        kind = _checked(obj)
        found = breakages(kind_from(stored), kind) if stored is not None else ()
        refused = {breakage.path for breakage in found if not breakage.warning}
        for breakage in found:
            if breakage.warning and (allow_breaking or breakage.path not in refused):
                click.echo(f"ructl: warning: {breakage.path}: {breakage.text}", err=True)
    response = ask(where, lambda connection: _push(connection, request))
    for obj, outcome in zip(objects, response.outcomes, strict=True):
        word, would = _WORDS.get(outcome, ("pushed", "would push"))
        tell(f"{would if dry_run else word} {obj.metadata.name}")


async def _push(connection: Connection, request: PutRequest) -> PutResponse:
    return await connection.put(request)


def types_in(files: Sequence[str], includes: Sequence[str], compiler: str | None = None) -> list[Object]:
    """Returns an api.Type for each message with the option in these files, without the types that are built in; for the
    name of a type that an installed package brings, that type."""
    from rube.api.types.protos import types_of
    from rube.installed import installed_types

    try:
        named = [name for name in files if not name.endswith(".proto")]
        packaged = {name: obj for name in named if (obj := installed_types().find(name)) is not None}
        found = list(packaged.values())
        if sources := [name for name in files if name not in packaged]:
            found += types_of(compile_protos(sources, includes, compiler or ""), sources)
    except RubeError as error:
        raise click.ClickException(error.message) from error
    if not found:
        raise click.ClickException(
            f"{', '.join(files)}: no message has the option (api.resource), which makes it a type of object: import "
            "rube/api/resource.proto and write 'option (api.resource) = {};' in one that is not within another"
        )
    return found


@command.command("list", short_help="List the types, those that are built in too.")
@connection_options
def list_(server: str | None, node_socket: str | None, timeout_s: float | None) -> None:
    """Lists the types of objects: their short names, whether they are in namespaces, and where they come from.

    \b
    ructl types list
    """
    from rube.installed import installed_types

    packaged = {name: kind_from(obj) for name, obj in installed_types().types.items()}
    for error in installed_types().errors:
        click.echo(f"ructl: {error}", err=True)
    pushed = {kind.name: kind for kind in map(kind_from, ask(target(server, node_socket, timeout_s), _pushed))}
    known = packaged | {kind.name: kind for kind in BUILTIN.kinds()} | pushed
    absent = packaged.keys() - pushed.keys()
    rows = [("TYPE", "SHORT NAMES", "NAMESPACED", "STATUS", "FROM")]
    for name in sorted(known):
        kind = known[name]
        status = kind.status.DESCRIPTOR.full_name if kind.status is not None else "-"
        words = ",".join(kind.short_names) or "-"
        origin = "installed, not pushed" if name in absent else "pushed" if kind.source else "built in"
        rows.append((name, words, "yes" if kind.namespaced else "no", status, origin))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


async def _pushed(connection: Connection) -> list[Object]:
    from ructl.query import Query

    return await connection.list_objects(Query(type=TYPE_TYPE))


def _checked(obj: Object) -> Kind:
    try:
        return kind_from(obj)
    except RubeError as error:
        raise click.ClickException(f"{obj.metadata.name}: {error.message}") from error


@command.command("get", short_help="Print a type's messages and options.")
@click.argument("name", shell_complete=complete_types)
@connection_options
def get(name: str, server: str | None, node_socket: str | None, timeout_s: float | None) -> None:
    """Prints what a type is: its option, and the fields of its spec and status.

    \b
    ructl types get acme.Backup

    `ructl get -t Type acme.Backup` prints the whole object, with its files; `ructl explain` explains single fields.
    """
    from rube.api import textproto
    from ructl.explain import explain, load_comments
    from ructl.places import full_type_name

    try:
        kind = TYPES.kind(full_type_name(name))
    except RubeError as error:
        raise click.ClickException(one_line(error)) from error
    resource = Type.FromString(kind.source).resource if kind.source else Resource()
    click.echo(f"{kind.name}  ({'pushed' if kind.source else 'built in'})")
    for line in textproto.format(resource).splitlines():
        click.echo(f"  {line}")
    comments = load_comments()
    for message in filter(None, (kind.spec, kind.status)):
        click.echo("")
        for line in explain(comments, message.DESCRIPTOR.full_name):
            click.echo(line)


@command.command("diff", short_help="Show what a push would change.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path())
@click.option("-I", "--include", "includes", multiple=True, metavar="DIR", help="Look up imports here.")
@compiler_option
@server_options
def diff(
    files: tuple[str, ...],
    includes: tuple[str, ...],
    compiler: str | None,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Shows what a push of .proto files would change in the types, as .proto source: a hunk for each message and enum
    that differs. Of a type with other comments, or with files of other names, it says so. Exit code 1 if anything would
    change.

    \b
    ructl types diff backup.proto
    """
    objects = types_in(files, includes, compiler)
    stored = ask(server_target(server, timeout_s), lambda connection: _stored(connection, objects))
    changes = changes_of(stored, objects)
    for change in changes:
        click.echo(change)
    if changes:
        raise SystemExit(1)


def changes_of(stored: Sequence[Object | None], objects: Sequence[Object]) -> list[str]:
    """Returns what a push of types would change, each change once: types of one file share what they import."""
    from ructl.proto_source import definitions, difference

    found: dict[str, None] = {}
    for before, after in zip(stored, objects, strict=True):
        old = definitions(_files(before)) if before is not None else {}
        hunks = ["\n".join(hunk) for hunk in difference(old, definitions(_files(after)))]
        found |= dict.fromkeys(hunks or _beside_definitions(before, after))
    return list(found)


def _beside_definitions(before: Object | None, after: Object) -> list[str]:
    """Returns what differs of a type whose messages and enums are equal, in one line; none if all is equal."""
    if before is None or kind_from(before).source == kind_from(after).source:
        return []
    old, new = ([file.name for file in _files(obj).file] for obj in (before, after))
    gone, come = ([name for name in one if name not in other] for one, other in ((old, new), (new, old)))
    if gone or come:
        what = f"the names of its files: {', '.join(gone) or 'none'} become {', '.join(come) or 'none'}"
    else:
        what = "comments, the order of definitions, or options of files"
    return [f"{after.metadata.name}: only {what}"]


def _files(obj: Object) -> FileDescriptorSet:
    return Type.FromString(obj.spec.value).files


async def _stored(connection: Connection, objects: Sequence[Object]) -> list[Object | None]:
    found: list[Object | None] = []
    for obj in objects:
        try:
            found.append(await connection.get(ObjectKey(TYPE_TYPE, "", obj.metadata.name)))
        except NotFoundError:
            found.append(None)
    return found


@command.command("delete", short_help="Delete types that have no objects.")
@click.argument("names", nargs=-1, required=True, metavar="NAME…", shell_complete=complete_types)
@dry_run_option
@server_options
def delete(names: tuple[str, ...], dry_run: bool, server: str | None, timeout_s: float | None) -> None:
    """Deletes types. One that has objects is not deleted, and the error says how many.

    \b
    ructl types delete acme.Backup
    """
    from rube.api import DeleteRequest
    from ructl.places import full_type_name

    try:
        full = [full_type_name(name) for name in names]
    except RubeError as error:
        raise click.ClickException(one_line(error)) from error
    keys = [ObjectKey(TYPE_TYPE, "", name).to_proto() for name in full]
    request = DeleteRequest(keys=keys, validate_only=dry_run)
    ask(server_target(server, timeout_s), lambda connection: connection.delete(request))
    for name in full:
        tell(f"{'would delete' if dry_run else 'deleted'} {name}")
