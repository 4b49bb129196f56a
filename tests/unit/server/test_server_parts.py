"""Locks, page tokens, the timed iterator, compaction: the small parts of the server."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rube.api.errors import InvalidArgumentError, ResourceExhaustedError
from rube.api.page_token import PageToken, decode_token, encode_token
from rube.server.compaction import compaction_target
from rube.server.locks import KeyLocks
from rube.server.timed_iterator import TimedIterator


def test_a_held_key_is_handed_on_in_order_of_arrival() -> None:
    async def main() -> list[int]:
        locks, order = KeyLocks(waiters_per_key_max=10), []

        async def write(number: int) -> None:
            held = await locks.acquire([b"a"])
            order.append(number)
            await asyncio.sleep(0)
            locks.release(held)

        await asyncio.gather(*(write(number) for number in range(6)))
        assert len(locks) == 0
        return order

    assert asyncio.run(main()) == list(range(6))


def test_opposite_orders_of_keys_do_not_deadlock() -> None:
    async def main() -> None:
        locks = KeyLocks(waiters_per_key_max=10)

        async def write(*keys: bytes) -> None:
            held = await locks.acquire(keys)
            await asyncio.sleep(0)
            locks.release(held)

        async with asyncio.timeout(5):
            await asyncio.gather(*(write(b"a", b"b", b"a") if n % 2 else write(b"b", b"a") for n in range(10)))
        assert len(locks) == 0

    asyncio.run(main())


def test_a_cancelled_waiter_leaves_the_lock_to_others() -> None:
    async def main() -> None:
        locks = KeyLocks(waiters_per_key_max=10)
        entered: list[str] = []

        async def write(name: str) -> None:
            held = await locks.acquire([b"a"])
            entered.append(name)
            locks.release(held)

        held = await locks.acquire([b"a"])
        tasks = [asyncio.create_task(write(name)) for name in "xyz"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        locks.release(held)
        # The turn has been given to the first when it is cancelled: the third gets it.
        tasks[0].cancel()
        await asyncio.wait(tasks)
        assert entered == ["z"]
        assert len(locks) == 0

    asyncio.run(main())


def test_a_lock_whose_only_waiter_is_cancelled_is_free() -> None:
    async def main() -> None:
        locks = KeyLocks(waiters_per_key_max=10)
        held = await locks.acquire([b"a"])
        waiter = asyncio.create_task(locks.acquire([b"a"]))
        await asyncio.sleep(0)
        waiter.cancel()
        locks.release(held)
        async with asyncio.timeout(5):
            locks.release(await locks.acquire([b"a"]))
        await asyncio.wait([waiter])
        assert len(locks) == 0

    asyncio.run(main())


def test_too_many_waiters_are_refused() -> None:
    async def main() -> None:
        locks = KeyLocks(waiters_per_key_max=1)
        held = await locks.acquire([b"b"])
        waiter = asyncio.create_task(locks.acquire([b"b"]))
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhaustedError, match="1 writes wait for b"):
            await locks.acquire([b"a", b"b"])
        assert len(locks) == 1
        waiter.cancel()
        locks.release(held)
        await asyncio.wait([waiter])

    asyncio.run(main())


@given(st.integers(0, 2**64 - 1), st.binary(max_size=200), st.text(max_size=50))
def test_a_page_token_comes_back_as_it_was_for_its_scope_alone(revision: int, last_key: bytes, scope: str) -> None:
    token = PageToken(revision, last_key)
    text = encode_token(token, scope)
    assert decode_token(text, scope) == token
    with pytest.raises(InvalidArgumentError, match="page_token"):
        decode_token(text, scope + "x")


@given(st.text(max_size=60))
def test_no_text_makes_the_page_token_decoder_fail_otherwise(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="page_token"):
        decode_token(text, "scope")


def test_compaction_keeps_the_newest_revisions() -> None:
    assert compaction_target(revision=100, compacted=0, history_revisions_max=30) == 70
    assert compaction_target(revision=100, compacted=70, history_revisions_max=30) is None
    assert compaction_target(revision=20, compacted=0, history_revisions_max=30) is None


def test_a_wait_that_ends_early_loses_no_item() -> None:
    async def main() -> None:
        gate, closed = asyncio.Event(), []

        async def source() -> AsyncGenerator[int, None]:
            try:
                yield 1
                await gate.wait()
                yield 2
                await asyncio.Event().wait()
            finally:
                closed.append(True)

        timed = TimedIterator(source())
        assert await timed.next(None) == 1
        assert await timed.next(0.0) is None
        assert await timed.next(0.0) is None
        gate.set()
        assert await timed.next(None) == 2
        assert await timed.next(0.0) is None
        await timed.aclose()
        assert closed == [True]

    asyncio.run(main())


def test_a_step_that_fails_while_it_is_given_up_leaves_nothing_to_complain_of() -> None:
    async def main() -> list[object]:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

        async def source() -> AsyncGenerator[int, None]:
            try:
                await asyncio.Event().wait()
                yield 1
            except asyncio.CancelledError:
                raise ResourceExhaustedError("full") from None

        timed = TimedIterator(source())
        assert await timed.next(0.0) is None
        await timed.aclose()
        del timed
        gc.collect()
        return complaints

    assert asyncio.run(main()) == []
