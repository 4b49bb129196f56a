"""`ructl completion`, and its completions: types, names, namespaces, labels and nodes, as the server has them.

Completion must never disturb: it takes COMPLETION_S_MAX at most, and after any error it completes nothing.
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


@click.command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(shell: str) -> None:
    """Prints the script that makes a shell complete ructl's commands, options, types, names and nodes.

    \b
    ructl completion bash > /etc/bash_completion.d/ructl
    source <(ructl completion zsh)
    ructl completion fish > ~/.config/fish/completions/ructl.fish
    """
    from ructl.main import ructl
    from ructl.shells import script

    click.echo(script(ructl, "ructl", shell))


def complete_types(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    try:
        from ructl.cluster_types import TYPES

        TYPES.load(COMPLETION_S_MAX)
        names = [*TYPES.words()]
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
    """Completes types, and after a dot the fields of the part before it."""
    before, dot, _ = incomplete.rpartition(".")
    types = complete_types(context, parameter, incomplete)
    if types or not dot:
        return types
    try:
        from ructl.explain import fields_of

        return [word for field in fields_of(before) if (word := f"{before}.{field}").startswith(incomplete)]
    except Exception:
        return []


def complete_conditions(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Completes `ructl wait --for`: words, paths, and values after a path."""
    try:
        from ructl.conditions import condition_words
        from ructl.places import full_type_name

        type_name = full_type_name(context.params.get("type_name") or UNIT_TYPE)
        return [word for word in condition_words(type_name, incomplete) if word.startswith(incomplete)]
    except Exception:
        return []


def complete_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    given = context.params
    return _complete_places(context, given.get("type_name"), given.get("namespace"), incomplete)


def complete_units(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    namespace = context.params.get("namespace")
    return _complete_places(context, UNIT_TYPE, namespace, incomplete)


def _complete_places(
    context: click.Context, type_name: str | None, namespace: str | None, incomplete: str
) -> list[str]:
    """Names, or where a slash was typed, NAMESPACE/NAME."""
    before, slash, _ = incomplete.rpartition("/")
    if slash:
        return _complete(context, type_name, before, incomplete, lambda found: [f"{found.namespace}/{found.name}"])
    return _complete(context, type_name, namespace, incomplete, lambda found: [found.name])


def complete_nodes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return _complete(context, NODE_TYPE, None, incomplete, lambda metadata: [metadata.name])


def complete_namespaces(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    type_name = context.params.get("type_name") or UNIT_TYPE
    return _complete(context, type_name, None, incomplete, lambda metadata: [metadata.namespace])


def complete_labels(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    type_name = context.params.get("type_name") or UNIT_TYPE
    namespace = context.params.get("namespace")
    before, comma, _ = incomplete.rpartition(",")
    return _complete(
        context,
        type_name,
        namespace,
        incomplete,
        lambda metadata: [f"{before}{comma}{name}={metadata.labels[name]}" for name in sorted(metadata.labels)],
    )


def _complete(
    context: click.Context,
    type_name: str | None,
    namespace: str | None,
    incomplete: str,
    words: Callable[..., Iterable[str]],
) -> list[str]:
    """Returns the distinct words of the objects of a type that begin as typed."""
    if not type_name:
        return []
    try:
        found = {word for metadata in _metadata(context, type_name, namespace) for word in words(metadata)}
    except (Exception, SystemExit):  # whatever it is, a prompt is no place to tell it
        return []
    return sorted(word for word in found if word.startswith(incomplete) and word)


def _metadata(context: click.Context, type_name: str, namespace: str | None) -> list[object]:
    from rube.api import ListRequest
    from ructl.connection import Connection, ask
    from ructl.options import target
    from ructl.places import full_type_name

    given = context.params
    with context.scope(cleanup=False):
        where = target(given.get("server"), given.get("node_socket"), None)
    request = ListRequest(type=full_type_name(type_name), namespace=namespace or "", page_size=COMPLETED_MAX)

    async def listed(connection: Connection) -> list[object]:
        return [obj.metadata for obj in (await connection.list_page(request)).items]

    return ask(replace(where, timeout_s=COMPLETION_S_MAX), listed)
