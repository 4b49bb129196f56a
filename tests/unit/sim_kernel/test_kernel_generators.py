"""Async generators in a world: closed where they were begun, and never once their process is dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from rube.sim.world.kernel import (
    World,
    current_process,
)


async def forever() -> None:
    await asyncio.Event().wait()


def test_abandoned_async_generator_is_closed_in_the_process_that_began_it() -> None:
    closed: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(1)
            closed.append(str(current_process()))

    shelf: list[AsyncIterator[int]] = []

    async def begin() -> None:
        shelf.append(numbers())
        await anext(shelf[0])
        await forever()

    async def abandon() -> None:
        shelf.clear()

    with World(1) as world:
        world.host("a").spawn("begins", begin)
        world.run_for(1)
        world.host("b").spawn("abandons", abandon)
        world.run_for(2)
    assert closed == ["a/begins#1"]


def test_async_generator_of_a_dead_process_is_never_closed() -> None:
    closed: list[str] = []
    shelf: list[AsyncIterator[int]] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closed.append("closed")

    async def main() -> None:
        shelf.append(numbers())
        await anext(shelf[0])
        await forever()

    with World(1) as world:
        process = world.host("a").spawn("p", main)
        world.run_for(1)
        process.kill()
        shelf.clear()
        world.run_for(1)
    assert closed == []


def test_end_of_main_closes_its_async_generators() -> None:
    closed: list[float] = []
    shelf: list[AsyncIterator[int]] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(1)
            closed.append(1)

    async def main() -> None:
        shelf.append(numbers())
        await anext(shelf[0])

    with World(1) as world:
        world.run(main, host=world.host("a"))
    assert closed == [1]
