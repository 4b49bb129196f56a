"""The messages that go to another member, and their times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import ParamSpec

import pytest

from rube.api.errors import UnavailableError
from rube.group import MemberConfig
from rube.group.peers import PendingMessages
from rube.raft.raft_pb2 import MSG_APP_RESP, MSG_HEARTBEAT_RESP, Message

P = ParamSpec("P")


def in_a_loop(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def acknowledgement(index: int, term: int = 3, *, reject: bool = False) -> Message:
    return Message(type=MSG_APP_RESP, to=2, sender=1, term=term, index=index, reject=reject)


HEARTBEAT = Message(type=MSG_HEARTBEAT_RESP, to=2, sender=1, term=3)


def outbox(**config: int) -> PendingMessages:
    return PendingMessages(MemberConfig(name="a", listen="a:1", **config))  # type: ignore[arg-type]  # numbers only


async def sent(box: PendingMessages, subscription: int) -> list[Message]:
    """The messages that go by now."""
    try:
        async with asyncio.timeout(0):
            return await box.batch(subscription)
    except TimeoutError:
        return []


@in_a_loop
async def test_a_repeated_acknowledgement_goes_with_the_next_message() -> None:
    box = outbox()
    with box.subscribed() as subscription:
        assert box.send(acknowledgement(7))
        assert await sent(box, subscription) == [acknowledgement(7)]
        assert box.send(acknowledgement(7))
        assert await sent(box, subscription) == []
        assert box.send(HEARTBEAT)
        assert await sent(box, subscription) == [acknowledgement(7), HEARTBEAT]
        assert box.send(HEARTBEAT)
        assert await sent(box, subscription) == [HEARTBEAT]


@in_a_loop
async def test_a_newer_acknowledgement_takes_the_place_of_one_that_waits() -> None:
    box = outbox()
    with box.subscribed() as subscription:
        for index in (7, 7, 8):
            assert box.send(acknowledgement(index))
        assert await sent(box, subscription) == [acknowledgement(7), acknowledgement(8)]


@pytest.mark.parametrize(
    "second",
    [acknowledgement(7, term=4), acknowledgement(6), acknowledgement(7, reject=True)],
    ids=["another term", "an older one", "a refusal"],
)
@in_a_loop
async def test_only_what_tells_nothing_new_waits(second: Message) -> None:
    box = outbox()
    with box.subscribed() as subscription:
        assert box.send(acknowledgement(7))
        assert box.send(second)
        assert await sent(box, subscription) == [acknowledgement(7), second]


@in_a_loop
async def test_an_older_acknowledgement_takes_no_place() -> None:
    """The one that waits may be the answer to a probe."""
    box = outbox()
    with box.subscribed() as subscription:
        for index in (7, 7, 6):
            assert box.send(acknowledgement(index))
        assert await sent(box, subscription) == [acknowledgement(index) for index in (7, 7, 6)]


@in_a_loop
async def test_what_tells_an_old_leader_of_a_newer_term_always_goes() -> None:
    box = outbox()
    with box.subscribed() as subscription:
        for _ in range(2):
            assert box.send(acknowledgement(0))
            assert await sent(box, subscription) == [acknowledgement(0)]


@in_a_loop
async def test_a_new_subscription_is_told_anew() -> None:
    """A message that went over the connection before may be lost."""
    box = outbox()
    with box.subscribed():
        assert box.send(acknowledgement(7))
        assert box.send(acknowledgement(7))
        with box.subscribed() as subscription:
            assert box.send(acknowledgement(7))
            assert await sent(box, subscription) == [acknowledgement(7)]


@in_a_loop
async def test_what_finds_no_room_or_no_subscription_is_dropped() -> None:
    box = outbox(queue_messages_max=2)
    assert not box.send(HEARTBEAT)
    with box.subscribed() as subscription:
        assert [box.send(HEARTBEAT) for _ in range(3)] == [True, True, False]
        assert await sent(box, subscription) == [HEARTBEAT, HEARTBEAT]
        assert box.send(HEARTBEAT)


@in_a_loop
async def test_a_subscription_ends_with_the_next_one() -> None:
    box = outbox()
    with box.subscribed() as first:
        waiting = asyncio.ensure_future(box.batch(first))
        await asyncio.sleep(0)
        with box.subscribed(), pytest.raises(UnavailableError, match="subscribed anew"):
            await waiting
