"""Rounds of reads: who shares one, and whose answer counts."""

from __future__ import annotations

import asyncio

from rube.group.pending import Reads


def test_reads_that_come_during_a_round_wait_for_the_next() -> None:
    async def main() -> None:
        reads = Reads(7)
        first = reads.join()
        context = reads.start_round()
        late = reads.join()
        assert not reads.start_round(), "one is under way"
        reads.confirmed(context, 5, 5)
        assert first.done()
        assert not late.done(), "what it is to see may have been committed after the round began"
        reads.confirmed(reads.start_round(), 6, 5)
        assert not late.done(), "entry 6 is not applied"
        reads.applied(6)
        assert late.done()

    asyncio.run(main())


def test_a_late_answer_to_an_earlier_incarnations_round_confirms_nothing() -> None:
    async def main() -> None:
        before, now = Reads(7), Reads(8)
        before.join()
        stale = before.start_round()
        read = now.join()
        context = now.start_round()
        now.confirmed(stale, 5, 9)
        assert not read.done()
        now.confirmed(context, 9, 9)
        assert read.done()

    asyncio.run(main())
