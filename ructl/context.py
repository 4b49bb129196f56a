"""`ructl context`: the clusters that a user works with."""

from __future__ import annotations

import click

from rube.api.errors import RubeError
from rube.console import WholeGroup
from ructl.completion import complete_contexts
from ructl.contexts import Contexts, load_contexts
from ructl.options import check_server


@click.group("context", cls=WholeGroup)
def command() -> None:
    """Chooses among clusters, so that --server need not be given.

    \b
    ructl context set prod --server 10.0.0.1:7823,10.0.0.2:7823
    ructl context use prod
    ructl list -t Unit --context home
    ructl context list

    The file is ~/.config/rube/config.yaml, or RUBE_CONFIG. --server wins over --context, which wins over RUBE_SERVER;
    then come RUBE_CONTEXT, the context in use, and 127.0.0.1:7823.
    """


@command.command("list", short_help="List the contexts; * marks the one in use.")
def list_() -> None:
    """Lists the contexts; * marks the one in use.

    \b
    ructl context list
    """
    contexts = _load()
    for name in contexts.names():
        mark = "*" if name == contexts.current else " "
        click.echo(f"{mark} {name}  {','.join(_servers(contexts, name))}")
    if not contexts.names():
        click.echo(
            f"ructl: there is no context in {contexts.path}; make one: ructl context set NAME --server HOST:PORT",
            err=True,
        )


@command.command("show", short_help="Print a context, or the one in use.")
@click.argument("name", required=False, shell_complete=complete_contexts)
def show(name: str | None) -> None:
    """Prints a context, or the one in use.

    \b
    ructl context show
    ructl context show prod
    """
    contexts = _load()
    chosen = name or contexts.current
    if not chosen:
        raise click.ClickException("no context is in use: choose one with 'ructl context use NAME'")
    click.echo(f"{chosen}  {','.join(_servers(contexts, chosen))}")


@command.command("use", short_help="Use a context from now on.")
@click.argument("name", shell_complete=complete_contexts)
def use(name: str) -> None:
    """Uses a context from now on.

    \b
    ructl context use prod
    """
    contexts = _load()
    try:
        contexts.use(name)
        contexts.save()
    except RubeError as error:
        raise click.ClickException(error.message) from error
    click.echo(f"using {name}  {','.join(_servers(contexts, name))}")


@command.command("set", short_help="Make a context, or change its servers.")
@click.argument("name", shell_complete=complete_contexts)
@click.option("--server", metavar="HOST:PORT", required=True, help="The apiserver; several with commas.")
@click.option("--tls", metavar="DIR", help="The directory of ca.pem, cert.pem and key.pem; '' for plain text.")
def set_(name: str, server: str, tls: str | None) -> None:
    """Makes a context, or changes its servers.

    \b
    ructl context set prod --server 10.0.0.1:7823,10.0.0.2:7823
    ructl context set prod --server 10.0.0.1:7823 --tls ~/rube/admin
    """
    servers = tuple(part.strip() for part in server.split(","))
    for endpoint in servers:
        check_server(endpoint)
    contexts = _load()
    try:
        contexts.set(name, servers, tls)
        contexts.save()
    except RubeError as error:
        raise click.ClickException(error.message) from error
    click.echo(f"set {name}  {','.join(servers)}")


@command.command("delete", short_help="Forget a context; the cluster stays as it is.")
@click.argument("name", shell_complete=complete_contexts)
def delete(name: str) -> None:
    """Forgets a context; the cluster stays as it is.

    \b
    ructl context delete prod
    """
    contexts = _load()
    try:
        contexts.delete(name)
        contexts.save()
    except RubeError as error:
        raise click.ClickException(error.message) from error
    click.echo(f"deleted {name}")


def _load() -> Contexts:
    try:
        return load_contexts()
    except RubeError as error:
        raise click.ClickException(error.message) from error


def _servers(contexts: Contexts, name: str) -> tuple[str, ...]:
    try:
        return contexts.servers(name)
    except RubeError as error:
        raise click.ClickException(error.message) from error
