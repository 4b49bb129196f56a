"""Options that several daemons share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rube.api.addresses import check_host_port
from rube.api.errors import FailedPreconditionError, InvalidArgumentError

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_ADDRESS = "127.0.0.1:7823"
LOG_LEVELS = ("debug", "info", "warning", "error")


def log_level_option(command: F) -> F:
    return click.option(
        "--log-level",
        type=click.Choice(LOG_LEVELS),
        default="info",
        show_default=True,
        help="What is logged, as key=value lines on stderr.",
    )(command)


def checked(check: Callable[[str], object]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """An option's callback: an InvalidArgumentError of `check` about a value is wrong usage."""

    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            for one in value if isinstance(value, tuple) else (value,):
                check(one)
        except InvalidArgumentError as error:
            raise click.BadParameter(error.message, context, parameter) from error
        return value

    return callback


def check_server(address: str) -> None:
    """Raises InvalidArgumentError for anything but HOST:PORT and unix:/path."""
    if not address.startswith("unix:/"):
        check_host_port(address)


def make_data_directory(path: Path) -> None:
    """Creates it if it is missing, for its owner alone. Raises FailedPreconditionError that names it."""
    from rube.store.engines.private_files import make_directory

    try:
        make_directory(path)
    except OSError as error:
        raise FailedPreconditionError(
            f"{path} cannot be created ({error.strerror}): choose a --data directory that this user may write to"
        ) from error


def parse_servers(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """An option's callback: addresses of servers, repeated or with commas between them."""
    servers = tuple(part.strip() for text in value for part in text.split(","))
    checked(check_server)(context, parameter, servers)
    return servers


def servers_option(command: F) -> F:
    return click.option(
        "--server",
        "servers",
        metavar="HOST:PORT",
        multiple=True,
        default=(DEFAULT_ADDRESS,),
        show_default=True,
        envvar="RUBE_SERVER",
        callback=parse_servers,
        help="An apiserver; several that serve the same store with commas, or repeat it.  [env: RUBE_SERVER]",
    )(command)
