"""`rube apiserver`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rube.api import Object, PutRequest
from rube.api.addresses import ANY_HOSTS, split_host_port
from rube.api.errors import InvalidArgumentError
from rube.cli.certificates import FIRST_TOKEN_FILE
from rube.cli.controller import (
    check_controllers,
    controllers_option,
    controllers_url,
    event_ttl_option,
    keep_controllers,
)
from rube.cli.daemon import Stop, announce, end_task, first_of, run_daemon
from rube.cli.options import DEFAULT_ADDRESS, check_server, checked, log_level_option
from rube.cli.real_host import real_host
from rube.cli.tls import insecure_option, kept_renewed, refuse_exposure, tls_options
from rube.client import Client
from rube.controllers.cluster.controllers import ClusterControllersConfig
from rube.host import ChannelTls, Host
from rube.server import ApiServer, ApiServerConfig
from rube.server.audit.log import AuditConfig, AuditLog, WhenFull
from rube.server.certificates_config import CertificatesConfig
from rube.server.entrance.limits import FairnessConfig
from rube.server.rights.subjects import PlainAccess, RightsConfig
from rube.store import open_store
from rube.store.replicated.backend import member_config
from rube.store.urls import StoreUrl, parse_store_url
from rube.transport import ServerKind
from rube.units.spec_checks import built_in_spec_checks

if TYPE_CHECKING:
    from rube.trust.ca_directory import CaDirectory

FAILED_GRACE_S = 0.5
"""The grace period of calls after the store has failed: no write can succeed."""


@click.command()
@click.option(
    "--store",
    "store_url",
    metavar="URL",
    default="sqlite:///rube.db",
    show_default=True,
    callback=checked(parse_store_url),
    help="Where objects are kept: sqlite:///relative/path, sqlite:////absolute/path, rocksdb:///path, "
    "raft+sqlite:///path?name=…, etcd://host:2379, mysql://user@host/database, memory: (lost at the end).",
)
@click.option(
    "--listen",
    metavar="ADDRESS",
    multiple=True,
    default=(DEFAULT_ADDRESS,),
    show_default=True,
    callback=checked(check_server),
    help="HOST:PORT (port 0: any free one) or unix:/path; may be repeated.",
)
@click.option(
    "--grpc",
    "server_kind",
    type=click.Choice(["h2corn", "grpcio"]),
    default="h2corn",
    show_default=True,
    help="The server implementation. grpcio costs several times as much a call.",
)
@controllers_option
@event_ttl_option
@click.option(
    "--data",
    metavar="DIR",
    help="Where the controllers keep their memory.  [default: beside a SQLite or RocksDB store; otherwise not on disk]",
)
@click.option(
    "--history",
    metavar="REVISIONS",
    type=click.IntRange(min=0),
    default=ApiServerConfig().history_revisions_max,
    show_default=True,
    help="How many revisions clients can resume from; older values make room. 0: keep all.",
)
@click.option(
    "--rights/--no-rights",
    default=False,
    help="Callers may do what roles and bindings allow, and nothing else.",
)
@click.option(
    "--local",
    type=click.Choice([each.value for each in PlainAccess]),
    default=PlainAccess.ADMIN.value,
    show_default=True,
    help="With --rights: the access of callers on this machine without a certificate.",
)
@click.option(
    "--audit",
    "audit_path",
    metavar="FILE",
    help="Write who did what, from where and by which rule. Files of 64 MiB, FILE.NUMBER, of which the newest 10 stay.",
)
@click.option("--audit-reads", is_flag=True, help="With --audit: also reads and heartbeats, not writes alone.")
@click.option(
    "--audit-full",
    type=click.Choice([each.value for each in WhenFull]),
    default=WhenFull.REFUSE.value,
    show_default=True,
    help="With --audit, while FILE cannot be written: refuse what has to be in it, or go on and count what it lacks.",
)
@click.option(
    "--calls-per-second",
    "calls_per_s",
    metavar="NUMBER",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Calls of one caller, who has to wait past that; heartbeats are not counted. 0: any number.",
)
@tls_options
@click.option(
    "--ca",
    metavar="DIR",
    help="With --tls: give certificates to machines that join, with the CA in there ('rube init' makes DIR/ca).",
)
@insecure_option
@log_level_option
def apiserver(
    store_url: str,
    listen: tuple[str, ...],
    server_kind: ServerKind,
    controllers: tuple[str, ...],
    event_ttl_s: int,
    data: str | None,
    history: int,
    rights: bool,
    local: str,
    audit_path: str | None,
    audit_reads: bool,
    audit_full: str,
    calls_per_s: int,
    tls: ChannelTls | None,
    ca: str | None,
    insecure: bool,
    log_level: str,
) -> None:
    """Serves the API over a store.

    \b
    Examples:
      rube apiserver --store sqlite:////var/lib/rubeapiserver/store.db
      rube apiserver --store memory: --listen 127.0.0.1:0
      rube apiserver --listen 0.0.0.0:7823 --tls /etc/rube/server --ca /etc/rube/ca
      rube apiserver --store etcd://10.0.0.1:2379,10.0.0.2:2379/rube
      rube apiserver --store 'raft+sqlite:////var/lib/rubeapiserver/a.db?name=a&members=a=10.0.0.1:7824,b=…,c=…'

    One process at a time may have a SQLite or RocksDB store open. An acknowledged write survives kill -9 and power
    loss. A write that its disk could not make durable ends it, with exit code 1.
    SIGTERM stops it: no new calls, running ones get a few seconds, watches end with UNAVAILABLE and resume elsewhere.
    """

    async def main(stop: Stop) -> None:
        host = real_host(server_kind=server_kind, tls=tls)
        refuse_exposure([*member_addresses(parse_store_url(store_url)), *listen], tls, insecure)
        async with kept_renewed(host, tls, signer=signer):
            await run(host, stop)

    async def run(host: Host, stop: Stop) -> None:
        store = await open_store(host, store_url)
        try:
            config = ApiServerConfig(
                listen=listen,
                history_revisions_max=history,
                spec_checks=built_in_spec_checks(),
                rights=rights_config(local, tls) if rights else None,
                audit=None if audit_path is None else audit_log(host, audit_path, audit_reads, audit_full),
                fairness=FairnessConfig(caller_calls_per_s_max=calls_per_s),
                certificates=None if signer is None else CertificatesConfig(signer=signer),
            )
            server = ApiServer(host, store, config)
            addresses = await server.start()
            shown = parse_store_url(store_url)  # without its password
            announce(f"rube apiserver: listening on {', '.join(addresses)}, store {shown}, id {store.store_id}")
            if signer is not None:
                await put_first_token(host, reachable(addresses[0]), signer.directory)
            memory_url = controllers_url(data, store_url)
            wanted = ClusterControllersConfig(names=controllers, event_ttl_s=event_ttl_s)
            running = asyncio.create_task(keep_controllers(host, [reachable(addresses[0])], memory_url, wanted))
            failure = await first_of(stop.wait(), server.failed())
            await end_task(running)
            if failure is not None:
                await server.stop(FAILED_GRACE_S)
                raise failure
            await server.stop()
        finally:
            await store.close()

    check_controllers(controllers)
    signer = signer_of(ca, tls)
    sys.exit(run_daemon("rube apiserver", main, log_level=log_level))


def audit_log(host: Host, path: str, reads: bool, full: str) -> AuditLog:
    """Returns the audit log at a path; the server opens it."""
    from rube.cli.audit_files import RealAuditFiles

    files = RealAuditFiles(Path(path))
    return AuditLog(host.clock, files, host.name, AuditConfig(reads=reads, when_full=WhenFull(full)))


def rights_config(local: str, tls: ChannelTls | None) -> RightsConfig:
    """Returns the rights of a server whose callers are of the trust domain of its own certificate."""
    if tls is None:
        return RightsConfig(local=PlainAccess(local))
    from rube.trust import domain_of

    return RightsConfig(local=PlainAccess(local), domain=domain_of(Path(tls.cert).read_bytes()))


def signer_of(ca: str | None, tls: ChannelTls | None) -> CaDirectory | None:
    """Returns what gives certificates. Raises click.UsageError for an option without the other, and unusable files."""
    if ca is None:
        return None
    if tls is None:
        raise click.UsageError("--ca needs --tls: certificates are given by TLS alone")
    from rube.trust import domain_of
    from rube.trust.ca_directory import CaDirectory

    try:
        return CaDirectory(Path(ca), domain_of(Path(tls.cert).read_bytes()))
    except InvalidArgumentError as error:
        raise click.UsageError(f"--ca: {error.message}") from error


async def put_first_token(host: Host, server: str, directory: Path) -> None:
    """Puts the token that `rube init` has printed, once."""
    place = directory / FIRST_TOKEN_FILE
    if not place.exists():
        return
    async with Client(host, [server]) as client:
        await client.put(PutRequest(objects=[Object.FromString(place.read_bytes())]))
    place.unlink()


def member_addresses(url: StoreUrl) -> list[str]:
    """Returns the addresses at which a replicated store listens for its other members; none for another store."""
    return [member_config(url).listen] if url.is_member else []


def reachable(address: str) -> str:
    """Returns the address at which a client on this machine finds a server that listens on `address`."""
    host, port = split_host_port(address)
    return f"127.0.0.1:{port}" if host in ANY_HOSTS else address
