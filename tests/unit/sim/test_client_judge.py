"""The check of rube.client: what its users' calls may repeat, and where they go next."""

from __future__ import annotations

import pytest

from rube.api import Metadata, Object, PutRequest
from rube.api.errors import UnavailableError
from rube.sim import judges
from rube.sim.judges import Attempt, History, Outcome

S = 1_000_000_000


def put(call: int, start_s: int, server: str, *, failed: bool = False, revision: int = 0, client: str = "u") -> Attempt:
    metadata = Metadata(namespace="default", name="web", revision=revision)
    attempt = Attempt(
        client=client,
        kind="put",
        request=PutRequest(objects=[Object(metadata=metadata)]),
        start_ns=start_s * S,
        end_ns=start_s * S + 5 * S,
        user=True,
        server=server,
        call=call,
    )
    if failed:
        attempt.error = UnavailableError("no answer")
    else:
        attempt.outcome = Outcome.OK
    return attempt


@pytest.mark.parametrize(
    ("attempts", "says"),
    [
        ([put(1, 0, "a", failed=True), put(1, 6, "b", revision=7)], ""),
        ([put(1, 0, "a", failed=True), put(2, 6, "b")], ""),
        ([put(1, 0, "a", failed=True), put(1, 6, "b")], "was sent again by its client, and may have been done before"),
        ([put(0, 0, "a", failed=True), put(0, 6, "b")], ""),
    ],
)
def test_what_may_have_been_done_is_not_sent_again_in_one_call(attempts: list[Attempt], says: str) -> None:
    verdict = judges.clients(History(attempts=attempts))
    assert verdict.passed is not bool(says)
    assert says in "".join(verdict.offending)


@pytest.mark.parametrize(
    ("second", "others", "passed"),
    [("a", [("b", 1)], False), ("b", [("b", 1)], True), ("a", [("b", -9)], True), ("a", [("b", 1), ("c", -9)], True)],
)
def test_a_client_turns_to_a_server_that_answers(second: str, others: list[tuple[str, int]], passed: bool) -> None:
    """It failed at 5 s; whether all others were there then is not known of one that answered long before."""
    attempts = [put(1, 0, "a", failed=True), put(2, 6, second)]
    for server, start_s in others:
        attempts.append(put(0, start_s, server, client="other"))
        attempts[-1].start_ns, attempts[-1].end_ns = (start_s + 3) * S, (start_s + 4) * S
    assert judges.clients(History(attempts=attempts)).passed is passed
