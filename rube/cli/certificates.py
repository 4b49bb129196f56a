"""`rube init` and `rube cert`: a cluster's CA, and the certificates that it makes."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rube.api.errors import FailedPreconditionError, RubeError
from rube.api.well_known import ADMINS
from rube.cli.options import DEFAULT_ADDRESS
from rube.distribution import install_command
from rube.host import RealClock
from rube.host.network import directory_tls

if TYPE_CHECKING:
    from rube.trust import Identity
    from rube.trust.ca_directory import CaDirectory

DAYS: Final = 365
OWN_NAMES: Final = ("localhost", "127.0.0.1", "::1")
FIRST_TOKEN_FILE: Final = "first-token"
"""The token that `rube init` prints: the first apiserver with the CA puts it."""
FIRST_TOKEN_S: Final = 24 * 3600.0
FIRST_TOKEN_USES: Final = 100
SERVER, ADMIN, AUTHORITY = "server", "admin", "ca"
_CA_FILE, _CA_KEY = "ca.pem", "ca.key"

_days_option = click.option(
    "--days",
    type=click.FloatRange(min=0.01, max=3650),
    metavar="DAYS",
    default=DAYS,
    show_default=True,
    help="How long it is valid.",
)


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="A host name or IP address by which others reach the server; repeat it.  [added: this machine's, localhost]",
)
@click.option("--rotate", is_flag=True, help="Make the next CA of DIRECTORY, beside which those before stay trusted.")
@click.option("--retire", is_flag=True, help="Trust the newest CA of DIRECTORY alone from now on.")
@_days_option
def init(directory: Path, hosts: tuple[str, ...], rotate: bool, retire: bool, days: float) -> None:
    """Makes a cluster's CA, and certificates for the server and for an administrator, below DIRECTORY.

    \b
    Example:
      rube init ~/rube --host 10.0.0.1
      rube apiserver --listen 0.0.0.0:7823 --tls ~/rube/server --ca ~/rube/ca
      rubelet join rube1.…@10.0.0.1:7823       # the line that this command prints, on each node
      ructl context set home --server 10.0.0.1:7823 --tls ~/rube/admin

    Keys are for their owner alone; whoever has DIRECTORY/ca/ca.key is everyone. Without --ca no machine joins by
    itself, and DIRECTORY/ca can be kept off the cluster: 'rube cert' makes each certificate.

    --rotate needs no restart: apiservers with --ca use the new CA at once, the others get it with their next
    certificate. --retire ends the trust in those before, once their certificates are shown no more.
    """
    if rotate or retire:
        _orderly(lambda: _next_ca(directory, rotate=rotate, retire=retire))
    else:
        _orderly(lambda: _init(directory, hosts, days))


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.argument("identity", metavar="KIND/NAME")
@click.option("--host", "hosts", metavar="NAME", multiple=True, help="A name or address that it serves at; repeat it.")
@click.option("--group", "groups", metavar="NAME", multiple=True, help="A group that it is in; repeat it.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Where it goes.  [default: DIRECTORY/KIND-NAME]"
)
@_days_option
def cert(
    directory: Path, identity: str, hosts: tuple[str, ...], groups: tuple[str, ...], out: Path | None, days: float
) -> None:
    """Makes a certificate with the CA that 'rube init DIRECTORY' has made, or renews it.

    \b
    Examples:
      rube cert ~/rube node/worker-1
      rube cert ~/rube user/ada --group ops --days 30
      rube cert ~/rube member/rube-2 --host 10.0.0.2
      rube cert ~/rube member/rube-1 --host 10.0.0.1 --out ~/rube/server

    KIND is user, node, controller or member (an apiserver; it needs --host). A key that is in --out already stays.
    Daemons use a new certificate from their next connection on, without a restart.
    """
    _orderly(lambda: _cert(directory, identity, hosts, groups, out, days))


def _init(directory: Path, hosts: tuple[str, ...], days: float) -> None:
    from rube.cli.token import new_token
    from rube.store.engines.private_files import make_directory
    from rube.trust import Authority, Identity
    from rube.trust.ca_directory import CaDirectory
    from rube.trust.keys import KEY_MODE, write_file

    place = directory / AUTHORITY
    if (place / _CA_FILE).exists() or (place / _CA_KEY).exists():
        raise FailedPreconditionError(
            f"there is a CA in {place} already: make further certificates with 'rube cert', or choose another directory"
        )
    authority = Authority.make(f"Rube CA of {platform.node()}", RealClock().now_ns())
    make_directory(directory)
    make_directory(place)
    write_file(place / _CA_KEY, authority.key.pem(), KEY_MODE)
    write_file(place / _CA_FILE, authority.pem(), 0o644)
    here = platform.node() or "localhost"
    server = Identity(kind="member", name=here, names=tuple(dict.fromkeys((*hosts, here, *OWN_NAMES))))
    admin = Identity(kind="user", name="admin", groups=(ADMINS,))
    authorities = CaDirectory(place, server.domain)
    _write(authorities, server, directory / SERVER, days)
    _write(authorities, admin, directory / ADMIN, days)
    address = f"{hosts[0]}:{DEFAULT_ADDRESS.rpartition(':')[2]}" if hosts else DEFAULT_ADDRESS
    listen = address if not hosts else f"0.0.0.0:{address.rpartition(':')[2]}"
    line, token = new_token(["node/*"], FIRST_TOKEN_S, FIRST_TOKEN_USES, authority.hash(), address)
    write_file(place / FIRST_TOKEN_FILE, token.SerializeToString(), KEY_MODE)
    click.echo(f"""CA {authority.hash()} in {place}: keep {_CA_KEY} safe; whoever has it is everyone.
Certificates for {days:g} days: {directory / SERVER} ({", ".join(server.names)}), {directory / ADMIN}

    rube apiserver --listen {listen} --tls {directory / SERVER} --ca {place}
    ructl context set home --server {address} --tls {directory / ADMIN} && ructl context use home

Each node, within {FIRST_TOKEN_S / 3600:g} hours ('rube token create' makes further tokens):

    rubelet join {line}""")


def _next_ca(directory: Path, *, rotate: bool, retire: bool) -> None:
    from rube.trust.ca_directory import CaDirectory
    from rube.trust.identity import DOMAIN

    authorities = CaDirectory(directory / AUTHORITY, DOMAIN)
    if rotate:
        now_ns = RealClock().now_ns()
        after = authorities.rotate(f"Rube CA of {platform.node()} {now_ns // 10**9}", now_ns)
        click.echo(f"CA {after.hash()} signs from now on; those before stay trusted, until --retire")
    if retire:
        click.echo(f"{authorities.retire()} CAs are trusted no more by certificates that are made from now on")


def _cert(
    directory: Path, text: str, hosts: tuple[str, ...], groups: tuple[str, ...], out: Path | None, days: float
) -> None:
    from rube.trust import Identity
    from rube.trust.ca_directory import CaDirectory

    place = directory / AUTHORITY
    kind, _, name = text.partition("/")
    identity = Identity(kind=kind, name=name, groups=groups, names=hosts)
    if kind == "member" and not hosts:
        raise click.UsageError("a member serves others: give the names or addresses that they reach it by, with --host")
    if kind in ("user", "node") and hosts:
        raise click.UsageError(f"the certificate of a {kind} must not pose as a server's: leave --host out")
    authorities = CaDirectory(place, identity.domain)
    written = out or directory / f"{kind}-{name}"
    _write(authorities, identity, written, days)
    click.echo(f"{identity.uri} for {days:g} days: {written}")


def _write(authorities: CaDirectory, identity: Identity, directory: Path, days: float) -> None:
    """Writes ca.pem, cert.pem and key.pem; the key is kept if there is one."""
    from rube.store.engines.private_files import make_directory
    from rube.trust import Key
    from rube.trust.keys import KEY_MODE, write_file
    from rube.trust.ports import BACKDATED_S, DAY_S

    make_directory(directory)
    files = directory_tls(str(directory))
    now_ns = RealClock().now_ns()
    key = Key.load(Path(files.key)) if Path(files.key).exists() else Key.make()
    issued = authorities.authority().issue(
        identity,
        key.private.public_key(),
        begin_ns=now_ns - BACKDATED_S * 10**9,
        end_ns=now_ns + int(days * DAY_S) * 10**9,
    )
    if not Path(files.key).exists():
        write_file(Path(files.key), key.pem(), KEY_MODE)
    write_file(Path(files.ca), authorities.trusted(), 0o644)
    write_file(Path(files.cert), issued + authorities.chain(), 0o644)


def _orderly(work: Callable[[], None]) -> None:
    """Makes errors one line each."""
    try:
        work()
    except ImportError as error:
        if error.name is None or not error.name.startswith("cryptography"):
            raise
        raise click.ClickException(f"certificates need a package: {install_command('server')}") from error
    except RubeError as error:
        raise click.ClickException(error.message) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'a file'}: {error.strerror}") from error
