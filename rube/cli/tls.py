"""The options of daemons that say how they speak TLS, and the refusal to listen without it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.api.times import NS_PER_S
from rube.cli.daemon import end_task
from rube.cli.exposure import exposed, warn_of_exposure
from rube.host import ChannelTls, Host, ServerTls
from rube.host.network import directory_tls

if TYPE_CHECKING:
    from rube.api import IssuedCertificate, RenewalRequest
    from rube.client.renewal import Renew
    from rube.trust.ca_directory import CaDirectory

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


def identity_tls(directory: str) -> ChannelTls:
    """Returns the files of an identity's directory. Raises click.UsageError for files that are missing or unusable."""
    found = _chosen(directory, "", "", "")
    assert found is not None, "there is a directory"
    return found


@asynccontextmanager
async def kept_renewed(
    host: Host, tls: ChannelTls | None, instance_id: Callable[[], str] = str, signer: CaDirectory | None = None
) -> AsyncIterator[None]:
    """Renews, while the block runs, the certificate of a process that has joined, or that has the CA's key. The
    others are renewed by hand."""
    from rube.cli.joining import joined_servers

    servers = joined_servers(Path(tls.cert).parent) if tls is not None else ()
    if tls is None or not (servers or signer):
        yield
        return
    from rube.client.renewal import Renewal, renew_by
    from rube.trust.directory_keyring import DirectoryKeyring

    keyring = DirectoryKeyring(tls)
    renew = renew_by(host, servers, tls.ca) if signer is None else renew_here(host, signer)
    renewal = Renewal(host, keyring, renew, instance_id)
    if signer is not None and not signer.is_current(*keyring.present()[::2], now_ns=host.clock.now_ns()):
        await renewal.renew_now()
    running = asyncio.create_task(renewal.run(), name="renewal")
    try:
        yield
    finally:
        await end_task(running)


def renew_here(host: Host, signer: CaDirectory) -> Renew:
    """Returns what renews the certificate of the process that has the CA's key."""

    async def renew(request: RenewalRequest) -> IssuedCertificate:
        from rube.server.certificates_config import CertificatesConfig
        from rube.trust.ports import BACKDATED_S, DAY_S

        requested, now_ns = signer.read_request(request.csr), host.clock.now_ns()
        end_ns = now_ns + round(CertificatesConfig(signer=signer).days * DAY_S) * NS_PER_S
        return signer.issue(requested, requested.identity, begin_ns=now_ns - BACKDATED_S * NS_PER_S, end_ns=end_ns)

    return renew


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
