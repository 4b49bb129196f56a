"""Proposals that wait: whose outcome is known, and whose can never come."""

from __future__ import annotations

import asyncio

import pytest

from rube.api.errors import AbortedError, UnavailableError
from rube.group.pending import OvertakenError, Proposals


def test_an_outcome_goes_to_who_proposed_it_and_an_error_is_raised() -> None:
    async def main() -> None:
        proposals = Proposals(7)
        one, first = proposals.begin(2, 0, 10)
        two, second = proposals.begin(2, 0, 10)
        proposals.applied(8, one, "of another member, or of an earlier incarnation")
        assert not first.done()
        proposals.applied(7, one, "done")
        proposals.applied(7, two, AbortedError("stale"))
        assert await first == "done"
        with pytest.raises(AbortedError):
            await second

    asyncio.run(main())


def test_an_entry_of_a_later_term_decides_what_was_proposed_in_earlier_ones() -> None:
    async def main() -> None:
        proposals = Proposals(7)
        _, earlier = proposals.begin(2, 0, 10)
        number, same = proposals.begin(3, 0, 10)
        proposals.overtaken(3)
        with pytest.raises(OvertakenError):
            await earlier
        assert not same.done()
        proposals.applied(7, number, "done")
        assert await same == "done"

    asyncio.run(main())


def test_of_what_a_snapshot_skipped_nobody_knows_the_outcome() -> None:
    async def main() -> None:
        proposals = Proposals(7)
        _, covered = proposals.begin(3, 0, 10)
        _, later = proposals.begin(4, 0, 10)
        proposals.skipped(3, "look")
        with pytest.raises(UnavailableError) as raised:
            await covered
        assert raised.value.metadata == {"unknown": "true"}
        assert not later.done()

    asyncio.run(main())


def test_who_has_waited_too_long_is_told() -> None:
    async def main() -> None:
        proposals = Proposals(7)
        _, late = proposals.begin(3, 0, 10)
        _, later = proposals.begin(3, 0, 11)
        proposals.expire(10)
        with pytest.raises(TimeoutError):
            await late
        assert not later.done()

    asyncio.run(main())


def test_what_was_proposed_before_one_that_is_applied_stands_before_it_or_nowhere() -> None:
    async def main() -> None:
        proposals = Proposals(7)
        _, lost = proposals.begin(3, 0, 10)
        number, applied = proposals.begin(3, 0, 10)
        _, later = proposals.begin(3, 0, 10)
        proposals.applied(7, number, "done")
        assert await applied == "done"
        with pytest.raises(OvertakenError):
            await lost
        assert not later.done()

    asyncio.run(main())


def test_a_proposal_that_waits_for_long_is_followed_by_a_mark_that_decides_it() -> None:
    async def main() -> None:
        proposals = Proposals(7)
        assert not proposals.mark(100, 5)
        _, lost = proposals.begin(3, 100, 200)
        assert not proposals.mark(104, 5)
        mark = proposals.mark(105, 5)
        assert mark
        assert not proposals.mark(109, 5), "one at a time"
        proposals.applied(7, mark, None)
        with pytest.raises(OvertakenError):
            await lost

    asyncio.run(main())
