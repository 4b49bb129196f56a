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
    ("second", "others", "passed"), [("a", ["b", "b"], False), ("a", ["b", "a"], True), ("b", ["b", "b"], True)]
)
def test_a_client_turns_to_a_server_that_answers(second: str, others: list[str], passed: bool) -> None:
    attempts = [put(1, 0, "a", failed=True), put(2, 6, second, failed=True)]
    attempts += [put(0, start_s, server, client="other") for start_s, server in zip((0, 6), others, strict=True)]
    assert judges.clients(History(attempts=attempts)).passed is passed
