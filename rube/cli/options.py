"""Options that several daemons share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

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


def servers_option(command: F) -> F:
    return click.option(
        "--server",
        "servers",
        metavar="HOST:PORT",
        multiple=True,
        default=(DEFAULT_ADDRESS,),
        show_default=True,
        envvar="RUBE_SERVER",
        help="An apiserver; repeat it for several that serve the same store.  [env: RUBE_SERVER]",
    )(command)
