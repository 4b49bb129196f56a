"""`ructl completion`, and what it completes: types, names, namespaces, labels and nodes, as the server has them.

Completion must never stand in the way: it takes COMPLETION_S_MAX at most, and whatever goes wrong completes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import click

from rube.api.well_known import NODE_TYPE, UNIT_TYPE

COMPLETION_S_MAX: Final = 1.0
COMPLETED_MAX: Final = 1000
"""Objects that are asked for."""
_SHELLS: Final = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS))
def command(shell: str) -> None:
    """Prints the script that makes a shell complete ructl's commands, options, types, names and nodes.

    \b
    ructl completion bash > /etc/bash_completion.d/ructl
    source <(ructl completion zsh)
    ructl completion fish > ~/.config/fish/completions/ructl.fish
    """
    from click.shell_completion import get_completion_class

    from ructl.main import ructl

    kind = get_completion_class(shell)
    assert kind is not None, "click completes for these shells"
    found = kind(ructl, {}, "ructl", "_RUCTL_COMPLETE")
    click.echo(found.source_template % found.source_vars())


def complete_types(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    try:
        from rube.api import registry

        names = [kind.name for kind in registry.kinds()]
    except Exception:
        return []
    known = names if "." in incomplete else [name.rpartition(".")[2] for name in names]
    return [name for name in known if name.lower().startswith(incomplete.lower())]


def complete_contexts(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    try:
        from ructl.contexts import load_contexts

        return [name for name in load_contexts().names() if name.startswith(incomplete)]
    except Exception:
        return []


def complete_explained(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Types, and after a dot the fields of what stands before it."""
    before, dot, _ = incomplete.rpartition(".")
    types = complete_types(context, parameter, incomplete)
    if types or not dot:
        return types
    try:
        from ructl.explain import fields_of

        return [word for field in fields_of(before) if (word := f"{before}.{field}").startswith(incomplete)]
    except Exception:
        return []


def complete_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    given = context.params
    return _complete(
        context, given.get("type_name"), given.get("namespace"), incomplete, lambda metadata: [metadata.name]
    )


def complete_units(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    namespace = context.params.get("namespace")
    return _complete(context, UNIT_TYPE, namespace, incomplete, lambda metadata: [metadata.name])


def complete_nodes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return _complete(context, NODE_TYPE, None, incomplete, lambda metadata: [metadata.name])


def complete_namespaces(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    type_name = context.params.get("type_name") or UNIT_TYPE
    return _complete(context, type_name, None, incomplete, lambda metadata: [metadata.namespace])


def complete_labels(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    type_name = context.params.get("type_name") or UNIT_TYPE
    namespace = context.params.get("namespace")
    return _complete(
        context,
        type_name,
        namespace,
        incomplete,
        lambda metadata: [f"{name}={metadata.labels[name]}" for name in sorted(metadata.labels)],
    )


def _complete(
    context: click.Context,
    type_name: str | None,
    namespace: str | None,
    incomplete: str,
    words: Callable[..., Iterable[str]],
) -> list[str]:
    """The distinct words of the objects of a type that begin as what was typed."""
    if not type_name:
        return []
    try:
        found = {word for metadata in _metadata(context, type_name, namespace) for word in words(metadata)}
    except (Exception, SystemExit):  # whatever it is, a prompt is no place to tell it
        return []
    return sorted(word for word in found if word.startswith(incomplete) and word)


def _metadata(context: click.Context, type_name: str, namespace: str | None) -> list[object]:
    from rube import api_pb2
    from ructl.connection import Connection, run
    from ructl.options import target
    from ructl.query import full_type_name

    given = context.params
    with context.scope(cleanup=False):
        where = target(given.get("server"), given.get("node_socket"), None)
    request = api_pb2.ListRequest(type=full_type_name(type_name), namespace=namespace or "", page_size=COMPLETED_MAX)

    async def listed(connection: Connection) -> list[object]:
        return [obj.metadata for obj in (await connection.list_page(request)).items]

    return run(replace(where, timeout_s=COMPLETION_S_MAX), listed)
