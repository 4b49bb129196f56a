"""The dictionary of packed messages, what it is worth, and which channels pack."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from grpc import ChannelConnectivity

from rube.api import ListResponse
from rube.transport import ChannelOptions, GrpcNetwork
from rube.transport.packing import textbook
from rube.transport.packing.channel import PackingChannel
from rube.transport.packing.codec import Packer
from rube.transport.packing.form import DICTIONARY


def test_the_dictionary_is_what_its_script_gives() -> None:
    assert textbook.dictionary() == DICTIONARY.read_bytes()


def test_the_dictionary_makes_a_short_list_of_other_objects_a_third() -> None:
    message = ListResponse(revision=77, store_id="0123456789abcdef")
    for number in range(3):
        item = message.items.add()
        item.metadata.namespace, item.metadata.name = "lab", f"microscope-{number}"
        item.metadata.labels.update(node=f"bench-{number}", floor="3")
        item.spec.type_url = "rube/api.systemd.Unit"
        item.status.type_url = "rube/api.systemd.UnitStatus"
        item.status.value = b"\x0a\x06loaded\x12\x06active\x1a\x07running"
    data = message.SerializeToString()
    packed = Packer().pack(data)
    assert len(packed) < len(data) / 3
    assert Packer().unpack(packed, len(data)) == data


@pytest.mark.parametrize(
    ("target", "pack", "packs"),
    [
        ("127.0.0.1:7823", None, False),
        ("localhost:7823", None, False),
        ("unix:/run/rube.sock", None, False),
        ("plane.example:7823", None, True),
        ("127.0.0.1:7823", True, True),
        ("plane.example:7823", False, False),
    ],
)
def test_channels_pack_unless_the_target_is_this_machine(target: str, pack: bool | None, packs: bool) -> None:
    async def body() -> None:
        channel = GrpcNetwork(channel_options=ChannelOptions(pack=pack)).channel(target)
        assert isinstance(channel, PackingChannel) is packs
        await channel.close(None)

    asyncio.run(body())


def test_without_zstandard_nothing_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("rube.transport.packing.c")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "zstandard", None)

    async def body() -> None:
        channel = GrpcNetwork().channel("plane.example:7823")
        assert not isinstance(channel, PackingChannel)
        await channel.close(None)

    asyncio.run(body())


class Inner:
    """A channel that has the state that a test says."""

    state = ChannelConnectivity.READY

    def get_state(self, try_to_connect: bool) -> ChannelConnectivity:
        return self.state

    def unary_unary(self, method: str, serializer: Any, deserializer: Any) -> Any:
        self.serializer, self.deserializer = serializer, deserializer
        return lambda request, **options: None


def test_a_lost_connection_may_come_back_to_a_server_that_does_not_unpack() -> None:
    inner: Any = Inner()
    channel = PackingChannel(inner)
    channel.unary_unary("/api.Api/List", bytes, bytes)
    large = bytes(range(1, 256)) * 8
    assert inner.serializer(large) == large
    assert inner.deserializer(Packer().pack(large)) == large
    assert inner.serializer(large) == Packer().pack(large)
    channel.get_state()
    assert inner.serializer(large) == Packer().pack(large)
    inner.state = ChannelConnectivity.IDLE
    channel.get_state()
    assert inner.serializer(large) == large


def test_methods_of_other_services_are_left_alone() -> None:
    inner: Any = Inner()
    PackingChannel(inner).unary_unary("/etcdserverpb.KV/Range", bytes, bytes)
    assert (inner.serializer, inner.deserializer) == (bytes, bytes)
