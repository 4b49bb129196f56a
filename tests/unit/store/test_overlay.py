"""The overlay of what was applied and is not written yet, against a map that has all of it at once."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from rube.host import Write
from rube.store.engines import MemoryEngine
from rube.store.engines.memory import VolatileDisk
from rube.store.replicated.overlay import Overlay

KEYS = st.sampled_from([b"a", b"b", b"c"])
STEPS = st.lists(st.tuples(KEYS, st.sampled_from([None, b"1", b"2"])) | st.integers(0, 3), max_size=30)
"""A write (None: a delete), or that so many of the oldest writes became durable."""


def test_two_deletes_of_one_key_leave_one_after_the_other() -> None:
    async def main() -> None:
        engine = await MemoryEngine.open(VolatileDisk(), "x")
        overlay = Overlay(engine)
        overlay.add([Write(b"a", None), Write(b"a", None)])
        for _ in range(2):
            overlay.durable(1)
            assert overlay.get(b"a") is None
        assert list(overlay.scan(b"", b"\xff")) == []

    asyncio.run(main())


@given(STEPS)
def test_it_shows_every_write_whatever_is_durable(steps: list[tuple[bytes, bytes | None] | int]) -> None:
    async def main() -> None:
        engine = await MemoryEngine.open(VolatileDisk(), "x")
        overlay, expected, waiting = Overlay(engine), dict[bytes, bytes](), list[Write]()
        for step in steps:
            if isinstance(step, int):
                done, waiting = waiting[:step], waiting[step:]
                await engine.commit(done)
                overlay.durable(len(done))
            else:
                write = Write(*step)
                overlay.add([write])
                waiting.append(write)
                expected.pop(write.key, None)
                if write.value is not None:
                    expected[write.key] = write.value
            assert dict(overlay.scan(b"", b"\xff")) == expected
            assert [overlay.get(key) for key in (b"a", b"b", b"c")] == [expected.get(k) for k in (b"a", b"b", b"c")]

    asyncio.run(main())
