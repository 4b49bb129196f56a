"""The options that commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from rube.api.errors import InvalidArgumentError
from ructl.completion import complete_contexts, complete_labels, complete_names, complete_namespaces, complete_types
from ructl.durations import Duration

if TYPE_CHECKING:
    from rube.host import ChannelTls

SERVER_DEFAULT: Final = "127.0.0.1:7823"
TIMEOUT_S_DEFAULT: Final = 10.0

_CONTEXT_KEY: Final = "ructl.context"
_TLS_KEY: Final = "ructl.tls"

_TLS_FILES: Final = {
    "ca": "The CA of the server, instead of the one in --tls.",
    "cert": "Your certificate, instead of the one in --tls.",
    "key": "Its key, instead of the one in --tls.",
}

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The server to ask, and how long one answer may take."""

    endpoints: tuple[str, ...]
    timeout_s: float
    stale: bool = False
    """A relay may answer with what it has, however old."""
    is_node: bool = False
    tls: ChannelTls | None = None

    def __str__(self) -> str:
        return ", ".join(endpoint.removeprefix("unix:") for endpoint in self.endpoints)


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --server, --context and --timeout, for commands that a rubelet cannot answer."""
    refusal = click.option("--node-socket", hidden=True, expose_value=False, callback=_refuse_node_socket)
    return refusal(_server_options(command))


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --server, --context, --node-socket and --timeout."""
    node_socket = click.option(
        "--node-socket", metavar="PATH", help="Ask the rubelet that listens on this socket about its own copy."
    )
    return node_socket(_server_options(command))


def _server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--context",
            metavar="NAME",
            expose_value=False,
            callback=_remember_context,
            shell_complete=complete_contexts,
            help="The cluster of this name (see 'ructl context').  [env: RUBE_CONTEXT]",
        ),
        click.option(
            "--tls",
            metavar="DIR",
            expose_value=False,
            callback=_remember_tls,
            help="Speak mutual TLS with ca.pem, cert.pem and key.pem in there.  [env: RUBE_TLS; or the context's]",
        ),
        *(
            click.option(f"--tls-{name}", metavar="FILE", expose_value=False, callback=_remember_file, help=text)
            for name, text in _TLS_FILES.items()
        ),
        click.option(
            "--timeout",
            "timeout_s",
            type=Duration(at_least_s=0.001),
            metavar="DURATION",
            help=f"How long one answer may take.  [default: {TIMEOUT_S_DEFAULT:g}s]",
        ),
        click.option(
            "--server",
            metavar="HOST:PORT",
            help=f"The apiserver; several with commas.  [env: RUBE_SERVER; default: {SERVER_DEFAULT}]",
        ),
    ):
        command = option(command)
    return command


def within_option(text: str, *, at_least_s: float = 0.1) -> Decorator:
    """Adds --within, which is `within_s`."""
    return click.option(
        "--within",
        "within_s",
        type=Duration(at_least_s=at_least_s),
        default="60s",
        show_default=True,
        metavar="DURATION",
        help=text,
    )


def fixed_type_option(type_name: str) -> Decorator:
    """Takes -t where there is only one type to name, and refuses any other."""

    def check(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        from ructl.places import type_of_word

        if value is not None and type_of_word(value) != type_name:
            raise click.UsageError(f"{context.info_name} is for objects of type {type_name} alone: leave -t out")

    return click.option("-t", "--type", hidden=True, expose_value=False, callback=check)


def _refuse_node_socket(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    before = context.find_root().params
    if value is not None or before.get("node_socket") is not None:
        raise click.UsageError(
            f"{context.info_name} writes, and a rubelet's own copy is read-only: ask an apiserver (--server)"
        )


def server_target(server: str | None, timeout_s: float | None) -> Target:
    """Does what `target` does, for a command that has `server_options`."""
    return target(server, None, timeout_s)


def target(server: str | None, node_socket: str | None, timeout_s: float | None) -> Target:
    """Returns the target of the options: those after the command, then those before it, then the environment and the
    context."""
    context = click.get_current_context()
    before = context.find_root().params
    if server is None and node_socket is None:
        server, node_socket = before.get("server"), before.get("node_socket")
    if server is not None and node_socket is not None:
        raise click.UsageError("--server and --node-socket exclude each other: a rubelet is asked on its socket")
    timeout_s = timeout_s or before.get("timeout_s") or TIMEOUT_S_DEFAULT
    if node_socket is not None:
        if not os.path.exists(node_socket):
            raise click.ClickException(f"there is no socket {node_socket}: is this node's rubelet running?")
        return Target(endpoints=(f"unix:{node_socket}",), timeout_s=timeout_s, is_node=True)
    tls = None
    if server is not None:
        endpoints = tuple(part.strip() for part in server.split(","))
    else:
        endpoints, tls = _endpoints(context.meta.get(_CONTEXT_KEY))
    for endpoint in endpoints:
        check_server(endpoint)
    return Target(endpoints=endpoints, timeout_s=timeout_s, tls=_given_tls(context) or tls)


def _given_tls(context: click.Context) -> ChannelTls | None:
    """Those of --tls, or of RUBE_TLS, with those of --tls-ca, --tls-cert and --tls-key."""
    directory = context.meta.get(_TLS_KEY) or os.environ.get("RUBE_TLS")
    files = {name: context.meta[f"{_TLS_KEY}.{name}"] for name in _TLS_FILES if f"{_TLS_KEY}.{name}" in context.meta}
    if not directory and not files:
        return None
    from dataclasses import replace

    from rube.host.network import ChannelTls, directory_tls

    if not directory and set(files) != set(_TLS_FILES):
        missing = ", ".join(f"--tls-{name}" for name in _TLS_FILES if name not in files)
        raise click.UsageError(f"{missing} is missing: give all three files, or the directory of the others with --tls")
    return replace(directory_tls(directory), **files) if directory else ChannelTls(**files)


def _endpoints(context_name: str | None) -> tuple[tuple[str, ...], ChannelTls | None]:
    """The servers of the context that is named, of RUBE_SERVER, of RUBE_CONTEXT, or of the context in use; and the
    context's TLS files."""
    if not context_name and (address := os.environ.get("RUBE_SERVER")):
        return tuple(part.strip() for part in address.split(",")), None
    chosen = context_name or os.environ.get("RUBE_CONTEXT", "")
    from ructl.contexts import config_path, load_contexts

    if not chosen and not config_path().exists():
        return (SERVER_DEFAULT,), None
    try:
        contexts = load_contexts()
        chosen = chosen or contexts.current
        return (contexts.servers(chosen), contexts.tls(chosen)) if chosen else ((SERVER_DEFAULT,), None)
    except InvalidArgumentError as error:
        raise click.UsageError(error.message) from error


def _remember_context(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """The one after the command, which is parsed last, wins over the one before it."""
    if value is not None:
        context.meta[_CONTEXT_KEY] = value


def _remember_tls(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta[_TLS_KEY] = value


def _remember_file(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        name = (parameter.name or "").removeprefix("tls_")
        context.meta[f"{_TLS_KEY}.{name}"] = value


def check_server(endpoint: str) -> None:
    """Raises click.UsageError for anything but HOST:PORT and unix:/path."""
    from rube.api.addresses import check_host_port

    if endpoint.startswith("unix:/"):
        return
    try:
        check_host_port(endpoint)
    except InvalidArgumentError as error:
        raise click.UsageError(f"--server: {error.message}") from error


def query_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds -t, -n, -l and the names, or one selector in text format in their place."""
    for option in (
        click.argument("names", nargs=-1, metavar="[NAME…|SELECTOR]", shell_complete=complete_names),
        click.option(
            "-l",
            "--labels",
            metavar="SELECTOR",
            help="Such as 'node=worker-1,tier!=test,owner,!paused'.",
            shell_complete=complete_labels,
        ),
        click.option(
            "-n",
            "--namespace",
            metavar="NAMESPACE",
            help="Only objects in this namespace.",
            shell_complete=complete_namespaces,
        ),
        click.option(
            "-t",
            "--type",
            "type_name",
            metavar="TYPE",
            help="Such as api.systemd.Unit, or Unit.",
            shell_complete=complete_types,
        ),
    ):
        command = option(command)
    return command


def dry_run_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --dry-run."""
    text = "Check everything and store nothing; say what would be done."
    return click.option("--dry-run", is_flag=True, help=text)(command)


def at_revision_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --at-revision, which is `at_revision`; None: now."""
    return click.option(
        "--at-revision",
        type=click.IntRange(min=1),
        metavar="N",
        help="As it was at this revision, as far back as the store goes ('ructl history').",
    )(command)


def stale_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --stale."""
    return click.option(
        "--stale",
        is_flag=True,
        help="What a relay has, however old, also while its apiservers are away; stderr says how old.",
    )(command)


def output_option(*choices: str) -> Decorator:
    """Adds -o with these choices; the first is the default."""
    return click.option(
        "-o", "--output", type=click.Choice(choices), default=choices[0], show_default=True, help="How to print."
    )
