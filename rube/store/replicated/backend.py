"""The backend that opens, copies and checks replicated stores for `rube.store.backends`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from rube.api.errors import InvalidArgumentError
from rube.group import MemberConfig
from rube.host import Host
from rube.raft.config import ReadMode
from rube.store.backends import Checked, Loader, Reader, StoreStat
from rube.store.config import StoreConfig
from rube.store.embedded.backend import ENGINE
from rube.store.ports import Store
from rube.store.replicated.store import ReplicatedStore
from rube.store.urls import MEMBER_FLAGS, MEMBER_NUMBERS, StoreUrl, parse_store_url

_T = TypeVar("_T")
_DIGITS_MAX = 10


class ReplicatedBackend:
    """The `rube.store.backends.Backend` of one member's disk: offline it reads, checks and fills that disk alone.

    A group that is formed on a filled disk begins with its content; the other members get it from the first.
    """

    async def open(self, host: Host, url: StoreUrl, config: StoreConfig) -> Store:
        member = replace(member_config(url), observer=config.member_observer)
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
    """Returns the member that the URL names. Raises InvalidArgumentError that names the option."""
    name, listen = url.option("name"), url.option("listen")
    members = tuple(_member(url, part) for part in url.option("members").split(",") if part)
    listen = listen or dict(members).get(name, "")
    if not name:
        raise InvalidArgumentError(f"store URL {url} names no member: add name=a")
    if not listen:
        raise InvalidArgumentError(f"store URL {url} does not say where member {name!r} listens: add listen=HOST:PORT")
    return MemberConfig(
        name=name,
        listen=listen,
        address=url.option("address"),
        members=members,
        join=tuple(part for part in url.option("join").split(",") if part),
        **_parameters(url),
    )


def _parameters(url: StoreUrl) -> dict[str, Any]:
    """Returns the given options, by their names in MemberConfig."""
    given: dict[str, Any] = {}
    for option, text in url.options:
        if option in MEMBER_NUMBERS:
            if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX and int(text) > 0):
                raise InvalidArgumentError(
                    f"store URL {url} has {option}={text[:_DIGITS_MAX]}: write a number from 1 to {'9' * _DIGITS_MAX}"
                )
            in_ms = option.endswith("_ms")
            given[f"{option.removesuffix('_ms')}_s" if in_ms else option] = int(text) / 1000 if in_ms else int(text)
        elif option in MEMBER_FLAGS:
            given[option] = _one_of(url, option, {"true": True, "false": False})
        elif option == "read_mode":
            given[option] = _one_of(url, option, {mode.value: mode for mode in ReadMode})
    return given


def _one_of(url: StoreUrl, option: str, meanings: Mapping[str, _T]) -> _T:
    text = url.option(option)
    if text not in meanings:
        raise InvalidArgumentError(f"store URL {url} has {option}={text}: write {' or '.join(meanings)}")
    return meanings[text]


def _member(url: StoreUrl, text: str) -> tuple[str, str]:
    name, equals, address = text.partition("=")
    if not (name and equals and ":" in address):
        raise InvalidArgumentError(f"store URL {url} has members with {text!r}: write members=a=HOST:PORT,b=HOST:PORT")
    return name, address


REPLICATED = ReplicatedBackend()
