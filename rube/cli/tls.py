"""The options of daemons that say how they speak TLS, and the refusal to listen without it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.cli.exposure import exposed, warn_of_exposure
from rube.host import ChannelTls, ServerTls
from rube.host.network import directory_tls

F = TypeVar("F", bound=Callable[..., Any])


def tls_options(command: F) -> F:
    """Adds --tls, --tls-ca, --tls-cert and --tls-key, which are the one argument `tls`: ChannelTls, or None."""

    @functools.wraps(command)
    def with_tls(*args: Any, tls: str, tls_ca: str, tls_cert: str, tls_key: str, **kwargs: Any) -> Any:
        return command(*args, tls=_chosen(tls, tls_ca, tls_cert, tls_key), **kwargs)

    found: Any = with_tls
    for option in (
        click.option("--tls-key", metavar="FILE", default="", help="The key of --tls-cert.  [default: of --tls]"),
        click.option("--tls-cert", metavar="FILE", default="", help="This daemon's certificate.  [default: of --tls]"),
        click.option("--tls-ca", metavar="FILE", default="", help="The cluster's CA.  [default: of --tls]"),
        click.option(
            "--tls",
            metavar="DIR",
            default="",
            envvar="RUBE_TLS",
            help="Speak mutual TLS with ca.pem, cert.pem and key.pem in there, which rube init and rube cert make.  "
            "[env: RUBE_TLS]",
        ),
    ):
        found = option(found)
    chosen: F = found
    return chosen


def insecure_option(command: F) -> F:
    return click.option(
        "--insecure", is_flag=True, help="Without TLS, listen in plain text where other machines reach it."
    )(command)


def refuse_exposure(addresses: Iterable[str], tls: ChannelTls | None, insecure: bool) -> None:
    """Raises FailedPreconditionError for an address that other machines reach in plain text, unless that is wished: the
    log says so then."""
    if tls is not None:
        return
    found = exposed(addresses)
    if found and not insecure:
        raise FailedPreconditionError(
            f"other machines reach {', '.join(found)}, where every caller is root on every node: give --tls DIR "
            "('rube init DIR' makes it), listen on 127.0.0.1 or unix:/path, or accept it with --insecure"
        )
    warn_of_exposure(found)


def _chosen(directory: str, ca: str, cert: str, key: str) -> ChannelTls | None:
    """Raises click.UsageError for files that are missing or unusable."""
    from rube.transport.tls import check_server_tls

    if not (directory or ca or cert or key):
        return None
    found = directory_tls(directory) if directory else ChannelTls()
    tls = ChannelTls(ca=ca or found.ca, cert=cert or found.cert, key=key or found.key)
    try:
        check_server_tls(ServerTls(cert=tls.cert, key=tls.key, client_ca=tls.ca))
    except InvalidArgumentError as error:
        raise click.UsageError(f"--tls: {error.message}") from error
    return tls
