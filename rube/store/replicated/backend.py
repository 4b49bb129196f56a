"""Replicated stores, as `rube.store.backends` opens and keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from rube.api.errors import InvalidArgumentError
from rube.host import Host
from rube.replica import MemberConfig
from rube.store.backends import Checked, Loader, Reader, StoreStat
from rube.store.config import StoreConfig
from rube.store.mvcc.backend import ENGINE
from rube.store.ports import Store
from rube.store.replicated.store import ReplicatedStore
from rube.store.urls import MEMBER_NUMBERS, StoreUrl, parse_store_url


class ReplicatedBackend:
    """`rube.store.backends.Backend` of one member's disk: what is read, checked and filled offline is that disk alone.

    A group that is formed on a disk that was filled begins with what is there; the other members get it from the first.
    """

    async def open(self, host: Host, url: StoreUrl, config: StoreConfig) -> Store:
        member = member_config(url)
        engine = await host.storage.open(url.engine_url)
        return await ReplicatedStore.open(host, engine, member, config)

    async def open_reader(self, host: Host, url: StoreUrl) -> Reader:
        return await ENGINE.open_reader(host, parse_store_url(url.engine_url))

    async def open_loader(self, host: Host, url: StoreUrl) -> Loader:
        return await ENGINE.open_loader(host, parse_store_url(url.engine_url))

    async def stat(self, host: Host, url: StoreUrl) -> StoreStat:
        return await ENGINE.stat(host, parse_store_url(url.engine_url))

    def verify(self, host: Host, url: StoreUrl) -> AsyncIterator[Checked]:
        return ENGINE.verify(host, parse_store_url(url.engine_url))


def member_config(url: StoreUrl) -> MemberConfig:
    """The member that the URL names. Raises InvalidArgumentError that names the option."""
    name, listen = url.option("name"), url.option("listen")
    members = tuple(_member(url, part) for part in url.option("members").split(",") if part)
    listen = listen or dict(members).get(name, "")
    if not name:
        raise InvalidArgumentError(f"store URL {url} names no member: add name=a")
    if not listen:
        raise InvalidArgumentError(f"store URL {url} says not where member {name!r} listens: add listen=HOST:PORT")
    numbers: dict[str, float] = {option: _positive(url, option) for option in MEMBER_NUMBERS}
    numbers["tick_s"] = numbers.pop("tick_ms") / 1000
    return MemberConfig(
        name=name,
        listen=listen,
        address=url.option("address"),
        members=members,
        join=tuple(part for part in url.option("join").split(",") if part),
        **{option: value for option, value in numbers.items() if value},  # type: ignore[arg-type]
    )


def _member(url: StoreUrl, text: str) -> tuple[str, str]:
    name, equals, address = text.partition("=")
    if not (name and equals and ":" in address):
        raise InvalidArgumentError(f"store URL {url} has members with {text!r}: write members=a=HOST:PORT,b=HOST:PORT")
    return name, address


def _positive(url: StoreUrl, option: str) -> int:
    """0: not given."""
    text = url.option(option)
    if text and not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InvalidArgumentError(f"store URL {url} has {option}={text}: write a number from 1 on")
    return int(text or 0)


REPLICATED = ReplicatedBackend()
