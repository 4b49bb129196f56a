"""Answers of reads are judged against the history of contents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rube.api.errors import NotFoundError
from rube.sim.judges import Commit, Outcome, reads
from rube.sim.judges.selection import demands
from tests.unit.sim.judge_history import S, Tale


class Story(Tale):
    """The log: a at 1 and 2, b at 3, a deleted at 4, and all of it known at 5 s."""

    def __init__(self) -> None:
        super().__init__()
        self.a1, self.a2, self.b3 = self.put(1, "a"), self.put(2, "a"), self.put(3, "b", created=3, tier="db")
        self.delete(4, "a")
        self.history.commits = [Commit(revision * S, revision) for revision in range(1, 5)]

    def missing(self, name: str, revision: int, **more: Any) -> None:
        error = NotFoundError("gone", revision=revision)
        self.get(name, 0, outcome=Outcome.FAILED, error=error, **more)


def test_right_answers_pass() -> None:
    story = Story()
    story.get("a", 2, story.a2, at_s=2)
    story.get("b", 4, story.b3)
    story.get("a", 2, story.a2, min_revision=1)
    story.missing("a", 4)
    story.missing("b", 2, at_s=2)
    story.list(4, story.b3, label_selector="tier in (db,web)")
    story.list(3, story.a2, answer="more", min_revision=3)
    story.list(3, story.b3, token="more")
    verdict = reads(story.history)
    assert verdict.passed, verdict


@pytest.mark.parametrize(
    ("read", "part"),
    [
        (lambda s: s.get("a", 2, s.a1, at_s=2), "its spec is"),
        (lambda s: s.get("a", 2, s.a2), "was answered revision 2, though an apiserver's store knew of 4 at 4.000s"),
        (lambda s: s.get("a", 4, s.a2), "which was not there"),
        (lambda s: s.get("b", 4, s.version("b", 3, "else", created=3, tier="db")), "its spec is"),
        (lambda s: s.get("b", 4, s.a2), "it is api.systemd.Unit/default/a and not api.systemd.Unit/default/b"),
        (lambda s: s.get("b", 9, s.b3), "the store ends with 4"),
        (lambda s: s.get("a", 2, s.a2, min_revision=3), "asked for 3 or later"),
        (lambda s: s.missing("b", 4), "it existed since 3"),
        (lambda s: s.missing("a", 0), "was answered revision 0, though"),
        (lambda s: s.list(4), "does not have api.systemd.Unit/default/b"),
        (lambda s: s.list(4, s.a2, s.b3), "had api.systemd.Unit/default/a, which was not there"),
        (
            lambda s: s.list(3, s.b3, s.a2, min_revision=3),
            "has api.systemd.Unit/default/a after api.systemd.Unit/default/b",
        ),
        (
            lambda s: s.list(3, s.a2, s.a2, s.b3, min_revision=3),
            "has api.systemd.Unit/default/a after api.systemd.Unit/default/a",
        ),
        (lambda s: s.list(4, s.b3, label_selector="!tier"), "which was not there (or did not match)"),
        (lambda s: s.list(4, label_selector="tier"), "does not have"),
        (lambda s: s.list(4, s.b3, name="a"), "did not match"),
        (lambda s: s.list(4, s.b3, namespace="other"), "did not match"),
        (lambda s: s.list(3, s.a2, s.b3, page_size=1, min_revision=3), "2 objects in a page of 1"),
        (
            lambda s: (s.list(3, s.a2, answer="t", min_revision=3), s.list(4, s.b3, token="t")),
            "a page is of revision 4",
        ),
        (lambda s: (s.list(3, s.a2, answer="t", min_revision=3), s.list(3, token="t")), "does not have"),
        (lambda s: s.list(3, s.b3, answer="t", min_revision=3), "does not have api.systemd.Unit/default/a"),
        (lambda s: s.list(3, s.b3, token="t"), "a page token that this list was never given"),
    ],
)
def test_a_wrong_answer_is_found(read: Callable[[Story], object], part: str) -> None:
    story = Story()
    read(story)
    verdict = reads(story.history)
    assert any(part in line for line in verdict.offending), verdict


@pytest.mark.parametrize(
    ("selector", "matching"),
    [
        ("", ["db", "none", "web"]),
        ("tier=db", ["db"]),
        ("tier==db", ["db"]),
        ("tier!=db", ["none", "web"]),
        ("tier in (db, web)", ["db", "web"]),
        ("tier notin (db,other)", ["none", "web"]),
        ("tier", ["db", "web"]),
        ("!tier", ["none"]),
        ("tier,tier!=web", ["db"]),
        (" tier in (db,web) , tier notin (web)", ["db"]),
    ],
)
def test_selectors(selector: str, matching: list[str]) -> None:
    labels: dict[str, dict[str, str]] = {"db": {"tier": "db"}, "none": {}, "web": {"tier": "web"}}
    assert [name for name in labels if all(demand.holds(labels[name]) for demand in demands(selector))] == matching
