"""`rube token`: the tokens by which machines join; `rube revoke`: certificates that are taken back."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

import click

from rube.api import (
    DeleteRequest,
    Object,
    PutRequest,
    Revocation,
    Token,
    TokenStatus,
)
from rube.api.times import NS_PER_S
from rube.api.types import pack
from rube.api.well_known import TOKEN_TYPE
from rube.cli.joining import Line
from rube.host import RealClock, RealRandomness
from ructl.connection import run
from ructl.options import server_options, server_target
from ructl.query import Query

TTL_S: Final = 3600.0
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}


@click.group()
def token() -> None:
    """Makes, lists and revokes the tokens by which machines join.

    \b
    rube token create --node 'edge-*' --ttl 1h --uses 50
    rube token list
    rube token revoke 7k2mzq
    """


def duration_s(text: str) -> float:
    """Returns the seconds of 90s, 30m, 12h or 7d. Raises click.BadParameter."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no duration: write 30m, 12h or 7d")
    return float(found[1]) * _UNITS[found[2]]


@token.command("create")
@click.option("--node", "nodes", metavar="NAME", multiple=True, help="Nodes of that name, or beginning: 'edge-*'.")
@click.option("--member", "members", metavar="NAME", multiple=True, help="Apiservers of that name, or beginning.")
@click.option("--controller", "controllers", metavar="NAME", multiple=True, help="Controllers and relays, likewise.")
@click.option(
    "--ttl", default="1h", show_default=True, callback=lambda _c, _p, text: duration_s(text), help="Its life."
)
@click.option(
    "--uses",
    type=click.IntRange(1, 1000),
    metavar="N",
    default=1,
    show_default=True,
    help="How many may join.",
)
@server_options
def create(
    nodes: tuple[str, ...],
    members: tuple[str, ...],
    controllers: tuple[str, ...],
    ttl: float,
    uses: int,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Makes a token, and prints the line that joins by it.

    \b
    Examples:
      rube token create --node worker-1 --tls ~/rube/admin
      rube token create --node 'edge-*' --ttl 1h --uses 50
      rube token create --member rube-2 --context home

    The secret is shown this once. A beginning of a name joins no node that exists; a whole name does, in place of the
    one before.
    """
    identities = [
        f"{kind}/{name}"
        for kind, names in (("node", nodes), ("member", members), ("controller", controllers))
        for name in names
    ]
    if not identities:
        raise click.UsageError("say who may join: --node, --member or --controller, with a name or a beginning ('*')")
    target = server_target(server, timeout_s)
    if target.tls is None:
        raise click.UsageError(
            "machines join a cluster with TLS: give --tls DIR or --context NAME with an administrator's certificate"
        )
    try:
        authority = authority_hash_of(Path(target.tls.ca).read_bytes())
    except OSError as error:
        raise click.UsageError(f"--tls: {target.tls.ca} cannot be read: {error.strerror}") from error
    line, obj = new_token(identities, ttl, uses, authority, target.endpoints[0])
    request = PutRequest(objects=[obj])
    run(target, lambda connection: connection.put(request))
    click.echo(line_to_type(line, identities))


@token.command("list")
@server_options
def list_tokens(server: str | None, timeout_s: float | None) -> None:
    """Lists the tokens: identities, uses, and when they expire."""
    now_ns = RealClock().now_ns()
    tokens = run(server_target(server, timeout_s), lambda connection: connection.list_objects(Query(type=TOKEN_TYPE)))
    for obj in tokens:
        spec, status = Token(), TokenStatus()
        obj.spec.Unpack(spec)
        obj.status.Unpack(status)
        end = spec.expire_time.ToJsonString() if spec.HasField("expire_time") else "never"
        over = " (expired)" if spec.HasField("expire_time") and spec.expire_time.ToNanoseconds() <= now_ns else ""
        used = f"{len(status.uses)}/{spec.uses_max}"
        click.echo(f"{obj.metadata.name}  {','.join(spec.identities)}  used {used}  expires {end}{over}")


@token.command("revoke")
@click.argument("name")
@server_options
def revoke_token(name: str, server: str | None, timeout_s: float | None) -> None:
    """Revokes a token; 'rube revoke' takes certificates back."""
    request = DeleteRequest()
    request.keys.add(type=TOKEN_TYPE, name=name)
    run(server_target(server, timeout_s), lambda connection: connection.delete(request))
    click.echo(f"token {name} is revoked")


@click.command()
@click.argument("identity", metavar="KIND/NAME")
@click.option("--reason", default="", help="For people; the owner of the certificate sees it, too.")
@click.option("--for-good", is_flag=True, help="Also certificates that are made later.")
@server_options
def revoke(identity: str, reason: str, for_good: bool, server: str | None, timeout_s: float | None) -> None:
    """Takes back all certificates of an identity: open connections end within seconds, and nothing renews them.

    \b
    Examples:
      rube revoke node/edge-7 --reason 'stolen'
      rube revoke user/ada --for-good

    It may join again with a new token, unless --for-good. To take it back: ructl delete -t Revocation NAME
    """
    now_ns = RealClock().now_ns()
    spec = Revocation(identity=identity, reason=reason)
    if not for_good:
        spec.until_time.FromNanoseconds(now_ns)
    obj = Object(spec=pack(spec))
    obj.metadata.name = f"r{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    request = PutRequest(objects=[obj])
    run(server_target(server, timeout_s), lambda connection: connection.put(request))
    click.echo(f"{identity} is revoked (auth.Revocation {obj.metadata.name})")


def new_token(identities: list[str], ttl_s: float, uses: int, authority: str, server: str) -> tuple[Line, Object]:
    """Returns the line to join by, and the object that the plane keeps: it has the secret's hash alone."""
    random = RealRandomness()
    secret = random.uid()
    spec = Token(secret_hash=hashlib.sha256(secret.encode()).digest(), identities=identities, uses_max=uses)
    spec.expire_time.FromNanoseconds(RealClock().now_ns() + round(ttl_s * NS_PER_S))
    obj = Object(spec=pack(spec))
    obj.metadata.name = f"t{random.uid()[:9]}"
    return Line(authority, obj.metadata.name, secret, server), obj


def line_to_type(line: Line, identities: list[str]) -> str:
    """Returns the command that joins the first of the identities."""
    kind, _, name = identities[0].partition("/")
    if kind == "node":
        node = "" if name == "*" else f" --node {name.replace('*', '1')}"
        return f"rubelet join {line}{node}"
    return f"rube join {kind}/{name.replace('*', '1')} {line} --out DIR" + (
        " --host ADDRESS" if kind == "member" else ""
    )


def authority_hash_of(pem: bytes) -> str:
    """Returns the SHA-256 of the first certificate in PEM, in hex."""
    from rube.transport.peers import fingerprint

    return fingerprint(pem)
