"""`rube cluster`: the members of a replicated store or of replicated controllers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

import click
from grpc import aio

from rube.api.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotDoneError,
    RubeError,
    UnavailableError,
    UnimplementedError,
)
from rube.cli.daemon import Stop, run_daemon
from rube.cli.options import check_server, checked
from rube.cli.real_host import real_host
from rube.cli.tls import tls_options
from rube.console import WholeGroup
from rube.group.group_pb2 import ChangeRequest, ChangeResponse, DescribeRequest, Description, Peer
from rube.group.group_pb2_grpc import MembersStub
from rube.host import ChannelTls, Host
from rube.transport import rube_error
from rube.transport.errors import Pairs
from rube.transport.statuses import DETAILS_KEY

CALL_S = 12.0


def _addresses(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    addresses = tuple(part.strip() for text in value for part in text.split(","))
    checked(check_server)(context, parameter, addresses)
    return addresses


_member_option = click.option(
    "--member",
    "members",
    metavar="HOST:PORT",
    multiple=True,
    required=True,
    envvar="RUBE_MEMBER",
    callback=_addresses,
    help="Where a member listens for the others (listen=… in its store URL); several with commas.  [env: RUBE_MEMBER]",
)
_name_argument = click.argument("name")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _check_name(name: str) -> None:
    """Checks the name, which will be part of store URLs."""
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError(f"cannot use name {name!r}: write letters, digits and . _ -, such as d")


@click.group(cls=WholeGroup)
@tls_options
@click.pass_context
def cluster(context: click.Context, tls: ChannelTls | None) -> None:
    """Shows a replicated store's members, and changes them.

    A member is one apiserver with a store URL raft+sqlite:///… or raft+rocksdb:///…; any of them can be asked.
    --tls stands before the command: rube cluster --tls DIR members --member 10.0.0.1:7824
    """
    context.obj = tls


@cluster.command()
@_member_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def members(members: tuple[str, ...], as_json: bool) -> None:
    """Lists the members, the leader, and how far each has come.

    \b
    Example:
      rube cluster members --member 10.0.0.1:7824
    """

    async def work(host: Host) -> None:
        described = await _call(host, members, lambda stub: stub.Describe(DescribeRequest(), timeout=CALL_S))
        leader = next((peer for peer in described.peers if peer.id == described.leader), None)
        if leader is not None and described.id != described.leader:  # only the leader knows how far the others are
            described = await _ask_leader(host, leader, described)
        print(json.dumps(_as_json(described), indent=2) if as_json else _table(described))

    _run("members", work)


@cluster.command()
@_member_option
@click.argument("name", callback=checked(_check_name))
@click.argument("address", metavar="HOST:PORT", callback=checked(check_server))
@click.option("--learner", is_flag=True, help="It gets everything and has no vote, until it is promoted.")
def add(members: tuple[str, ...], name: str, address: str, learner: bool) -> None:
    """Expect a new member NAME that will listen at HOST:PORT. It votes once it has caught up.

    \b
    Example, and how the new one is started, with an empty disk:
      rube cluster add --member 10.0.0.1:7824 d 10.0.0.4:7824
      rube apiserver --store 'raft+sqlite:////var/lib/rubeapiserver/d.db?name=d&listen=10.0.0.4:7824&join=10.0.0.1:7824'
    """
    peer = Peer(name=name, address=address, promote=not learner)
    _change("add", members, ChangeRequest(add=peer), f"member {name} is expected at {address}: start it with join=…")


@cluster.command()
@_member_option
@_name_argument
def remove(members: tuple[str, ...], name: str) -> None:
    """Removes the member NAME permanently; its process ends. Refused if the others could not decide without it.

    A member that lost its disk is removed, and added again with an empty one.
    """
    _change("remove", members, ChangeRequest(remove=name), f"member {name} is removed: wipe its disk")


@cluster.command()
@_member_option
@_name_argument
@click.argument("address", metavar="HOST:PORT", callback=checked(check_server))
def update(members: tuple[str, ...], name: str, address: str) -> None:
    """Notes that the member NAME is now at HOST:PORT. A member that is started with a new address does so itself.

    Refused while it answers at another address: stop it there first.
    """
    peer = Peer(name=name, address=address)
    _change("update", members, ChangeRequest(update=peer), f"member {name} is at {address}")


@cluster.command()
@_member_option
@_name_argument
def promote(members: tuple[str, ...], name: str) -> None:
    """Gives the learner NAME a vote. Refused until it has caught up."""
    _change("promote", members, ChangeRequest(promote=name), f"member {name} votes")


@cluster.command("transfer-leader")
@_member_option
@_name_argument
def transfer_leader(members: tuple[str, ...], name: str) -> None:
    """Lets the member NAME lead."""
    request = ChangeRequest(transfer_leader=name)
    _change("transfer-leader", members, request, f"member {name} leads", needless=lambda now: _leader(now) == name)


def _change(
    command: str,
    members: Sequence[str],
    request: ChangeRequest,
    done: str,
    needless: Callable[[Description], bool] = lambda now: False,
) -> None:
    async def work(host: Host) -> None:
        now = await _call(host, members, lambda stub: stub.Describe(DescribeRequest(), timeout=CALL_S))
        if not needless(now):
            await call_once(host, members, lambda stub: _changed(stub, request))
        print(f"rube cluster {command}: {done}")

    _run(command, work)


async def _changed(stub: MembersStub, request: ChangeRequest) -> ChangeResponse:
    response: ChangeResponse = await stub.Change(request, timeout=CALL_S)  # type: ignore[misc]  # asyncio's stub
    return response


def _leader(described: Description) -> str:
    """Returns the leader's name; empty if none is known."""
    return next((peer.name for peer in described.peers if peer.id and peer.id == described.leader), "")


class _SilentError(UnavailableError):
    """No member answers there."""


async def _call(host: Host, addresses: Sequence[str], ask: Callable[[Any], Any]) -> Any:
    """The answer of the first member that has one. Raises what that answers with."""
    failed: list[tuple[str, UnavailableError]] = []
    for address in addresses:
        try:
            return await _ask(host, address, ask)
        except UnavailableError as error:
            failed.append((address, error))
    raise _all_failed(failed)


async def call_once(host: Host, addresses: Sequence[str], ask: Callable[[Any], Any]) -> Any:
    """Does what `_call` does, for a change: repeats it only if it was certainly not made."""
    failed: list[tuple[str, UnavailableError]] = []
    for address in addresses:
        try:
            await _ask(host, address, lambda stub: stub.Describe(DescribeRequest(), timeout=CALL_S))
        except UnavailableError as error:
            failed.append((address, error))
            continue
        try:
            return await _ask(host, address, ask)
        except (UnavailableError, DeadlineExceededError) as error:
            if not isinstance(error, NotDoneError):
                raise _perhaps_done(address, error) from error
            failed.append((address, error))
    raise _all_failed(failed)


async def _ask(host: Host, address: str, ask: Callable[[Any], Any]) -> Any:
    """Returns one member's answer. Raises the error that it answers with, or _SilentError."""
    channel = host.network.channel(address)
    try:
        return await ask(MembersStub(channel))
    except aio.AioRpcError as error:
        told = rube_error(error)
        if isinstance(told, UnimplementedError):
            raise FailedPreconditionError(
                f"{address} answers, and is no member's address for the others: see listen=… or members=… in its "
                "store URL"
            ) from error
        answered = any(key == DETAILS_KEY for key, _ in cast(Pairs, error.trailing_metadata() or ()))
        if isinstance(told, UnavailableError) and not answered:
            raise _SilentError(told.message) from error
        raise told from error
    finally:
        await channel.close(None)


def _all_failed(failed: Sequence[tuple[str, UnavailableError]]) -> UnavailableError:
    told = "; ".join(f"{address}: {error.message}" for address, error in failed)
    if all(isinstance(error, _SilentError) for _, error in failed):
        return UnavailableError(f"no member answers ({told}): is --member one that runs?")
    return UnavailableError(told)


def _perhaps_done(address: str, error: RubeError) -> UnavailableError:
    return UnavailableError(
        f"{address}: {error.message}; the change may have been made, or still be: see `rube cluster members` before "
        "you try again",
        unknown="true",
    )


async def _ask_leader(host: Host, leader: Peer, described: Description) -> Description:
    try:
        answer: Description = await _call(
            host, [leader.address], lambda stub: stub.Describe(DescribeRequest(), timeout=CALL_S)
        )
        return answer
    except RubeError:
        return described


def rows_of(described: Description) -> list[dict[str, Any]]:
    """The members, as the table and JSON show them."""
    progress = {one.id: one for one in described.progress}
    return [
        {
            "name": peer.name,
            "address": peer.address,
            "role": _role(peer, described.leader),
            "state": _state(peer, described, progress.get(peer.id)),
            "index": progress[peer.id].match if peer.id in progress else None,
            "id": f"{peer.id:x}" if peer.id else None,
        }
        for peer in described.peers
    ]


def _role(peer: Peer, leader: int) -> str:
    if not peer.id:
        return "expected"
    if peer.id == leader:
        return "leader"
    return "learner" if peer.learner else "voter"


def _state(peer: Peer, described: Description, progress: Any) -> str:
    if not peer.id:
        return "not joined"
    if progress is None:
        return "unknown"
    if not progress.active:
        return "silent"
    return "up to date" if progress.match >= described.committed else "catching up"


def _as_json(described: Description) -> dict[str, Any]:
    return {
        "group": described.group_id,
        "term": described.term,
        "committed": described.committed,
        "members": rows_of(described),
    }


def _table(described: Description) -> str:
    columns = ("name", "role", "state", "index", "address", "id")
    lines = [tuple(column.upper() for column in columns)]
    lines += [
        tuple("-" if row[column] is None else str(row[column]) for column in columns) for row in rows_of(described)
    ]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    head = f"group {described.group_id}, term {described.term}, committed {described.committed}"
    lead = "" if described.leader else "; no leader is known"
    return "\n".join([head + lead, *shown])


def _run(command: str, work: Callable[[Host], Any]) -> None:
    tls: ChannelTls | None = click.get_current_context().obj

    async def main(stop: Stop) -> None:
        await work(real_host(tls=tls))

    sys.exit(run_daemon(f"rube cluster {command}", main, log_level="warning", managed=False))
