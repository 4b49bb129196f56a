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
    from rube.trust import Authority, Identity

DAYS: Final = 365
OWN_NAMES: Final = ("localhost", "127.0.0.1", "::1")
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
@_days_option
def init(directory: Path, hosts: tuple[str, ...], days: float) -> None:
    """Makes a cluster's CA, and certificates for the server and for an administrator, below DIRECTORY.

    \b
    Example:
      rube init ~/rube --host 10.0.0.1
      rube apiserver --listen 0.0.0.0:7823 --tls ~/rube/server
      ructl context set home --server 10.0.0.1:7823 --tls ~/rube/admin

    Keys are for their owner alone. Keep DIRECTORY/ca off the cluster's machines: whoever has ca.key is everyone.
    """
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
    from rube.store.engines.private_files import make_directory
    from rube.trust import Authority, Identity
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
    _write(authority, server, directory / SERVER, days)
    _write(authority, admin, directory / ADMIN, days)
    address = f"{hosts[0]}:{DEFAULT_ADDRESS.rpartition(':')[2]}" if hosts else DEFAULT_ADDRESS
    listen = address if not hosts else f"0.0.0.0:{address.rpartition(':')[2]}"
    click.echo(f"""CA {authority.hash()} in {place}: keep {_CA_KEY} safe, and off the cluster's machines.
Certificates for {days:g} days: {directory / SERVER} ({", ".join(server.names)}), {directory / ADMIN}

    rube apiserver --listen {listen} --tls {directory / SERVER}
    ructl context set home --server {address} --tls {directory / ADMIN} && ructl context use home

A node: make its certificate, bring the directory there, and start its rubelet with it:

    rube cert {directory} node/worker-1
    rubelet --server {address} --node worker-1 --tls {directory}/node-worker-1""")


def _cert(
    directory: Path, text: str, hosts: tuple[str, ...], groups: tuple[str, ...], out: Path | None, days: float
) -> None:
    from rube.trust import Authority, Identity, Key

    place = directory / AUTHORITY
    kind, _, name = text.partition("/")
    identity = Identity(kind=kind, name=name, groups=groups, names=hosts)
    if kind == "member" and not hosts:
        raise click.UsageError("a member serves others: give the names or addresses that they reach it by, with --host")
    if kind in ("user", "node") and hosts:
        raise click.UsageError(f"the certificate of a {kind} must not pose as a server's: leave --host out")
    try:
        pem = (place / _CA_FILE).read_bytes()
    except OSError as error:
        raise FailedPreconditionError(
            f"cannot read {place / _CA_FILE} ({error.strerror}): 'rube init {directory}' makes a CA there"
        ) from error
    authority = Authority.load(pem, Key.load(place / _CA_KEY))
    written = out or directory / f"{kind}-{name}"
    _write(authority, identity, written, days)
    click.echo(f"{identity.uri} for {days:g} days: {written}")


def _write(authority: Authority, identity: Identity, directory: Path, days: float) -> None:
    """Writes ca.pem, cert.pem and key.pem; the key is kept if there is one."""
    from rube.store.engines.private_files import make_directory
    from rube.trust import Key
    from rube.trust.authority import BACKDATED_S, DAY_S
    from rube.trust.keys import KEY_MODE, write_file

    make_directory(directory)
    files = directory_tls(str(directory))
    now_ns = RealClock().now_ns()
    key = Key.load(Path(files.key)) if Path(files.key).exists() else Key.make()
    issued = authority.issue(
        identity,
        key.private.public_key(),
        begin_ns=now_ns - BACKDATED_S * 10**9,
        end_ns=now_ns + int(days * DAY_S) * 10**9,
    )
    if not Path(files.key).exists():
        write_file(Path(files.key), key.pem(), KEY_MODE)
    write_file(Path(files.ca), authority.pem(), 0o644)
    write_file(Path(files.cert), issued, 0o644)


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
