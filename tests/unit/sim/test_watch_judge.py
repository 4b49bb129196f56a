"""A watch's events are judged against the history of contents: each promise has a history that breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rube.api import Object
from rube.sim.judges import Commit, Content, Delivery, History, summarize_latency, watch_latency, watch_promises
from tests.unit.sim.judge_history import S, Tale, ended, told, update

FIRST = told(0, end=True)


class Story(Tale):
    """The log: a at 1, a and b at 2 (one transaction), a deleted at 3."""

    def __init__(self) -> None:
        super().__init__()
        self.a1, self.a2, self.b2 = self.put(1, "a"), self.put(2, "a"), self.put(2, "b", created=2)
        self.a3 = self.delete(3, "a")

    @property
    def events(self) -> list[object]:
        return [update(self.a1), update(self.a2), update(self.b2), ended(self.a3)]


def _all(story: Story) -> list[Delivery]:
    return [FIRST, told(1, update(story.a1)), told(2, update(story.a2), update(story.b2)), told(3, ended(story.a3))]


def test_watch_promises_hold() -> None:
    story = Story()
    story.watch(*_all(story), send_initial=True)
    verdict = watch_promises(story.history)
    assert verdict.passed, verdict
    story.watch(
        told(1, update(story.a1), end=True),
        told(3, update(story.b2), update(story.a2), ended(story.a3)),
        send_initial=True,
    )
    story.watch(told(3, ended(story.a3)), after_revision=2, client="o-1")
    story.watch(told(1), told(3, update(story.a2), update(story.b2), ended(story.a3)), client="from-now-on")
    story.history.streams[-1].observer = False
    verdict = watch_promises(story.history)
    assert verdict.passed, verdict


Broken = Callable[[Story], list[Delivery]]


def _other(story: Story, name: str, revision: int, **more: object) -> Content:
    return story.version(name, revision, "never written", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("deliveries", "part"),
    [
        (lambda s: [FIRST, told(1, update(s.a1)), told(3, ended(s.a3))], "without update of"),
        (
            lambda s: [FIRST, told(1, update(s.a1)), told(1, update(s.a1)), told(3, *s.events[1:])],
            "got again or too late",
        ),
        (lambda s: [FIRST, told(2, update(s.a2), update(s.b2), update(s.a1))], "without update of"),
        (
            lambda s: [FIRST, told(1, update(s.a1)), told(2, update(s.a2)), told(3, update(s.b2), ended(s.a3))],
            "only a part of its revision",
        ),
        (lambda s: [FIRST, told(1, update(s.a1)), told(2, update(s.a2), update(s.b2))], "a at revision 2"),
        (lambda s: [FIRST, told(2, *s.events[:3]), told(1), told(3, ended(s.a3))], "went back from revision 2 to 1"),
        (lambda s: [FIRST, told(3, *s.events, update(s.version("c", 3)))], "not in the log at this place"),
        (lambda s: [FIRST, told(2), told(3, *s.events)], "everything up to 2 was said to be delivered"),
        (lambda s: [FIRST, told(1, update(s.a1), update(s.a2)), told(3, *s.events[2:])], "past the revision 1"),
        (lambda s: [FIRST, told(1, update(_other(s, "a", 1))), told(3, *s.events[1:])], "got a wrong "),
        (lambda s: [FIRST, told(3, *s.events[:3], update(s.a3))], "not in the log at this place"),
        (lambda s: [FIRST, told(3, *s.events[:3], ended(_other(s, "a", 3)))], "a wrong previous object: its spec"),
        (lambda s: [FIRST, told(3, *s.events[:3], ended(s.a2))], "not in the log at this place"),
        (lambda s: [told(1, update(_other(s, "a", 1)), end=True), told(3, *s.events[1:])], "had a wrong"),
        (lambda s: [told(1, end=True), told(3, *s.events[1:])], "do not have"),
        (lambda s: [told(3, update(s.a2), update(s.b2), end=True)], "was not there"),
        (lambda s: [told(1, update(s.a1), update(s.a1), end=True), told(3, *s.events[1:])], "twice"),
        (lambda s: [told(9, update(s.b2), end=True)], "the store ends with 3"),
    ],
)
def test_watch_promises_broken(deliveries: Broken, part: str) -> None:
    story = Story()
    story.watch(*deliveries(story), send_initial=True)
    _violated(watch_promises(story.history).offending, part)


def test_what_enters_and_leaves_a_filter_is_an_update_and_a_delete() -> None:
    tale = Tale()
    first = tale.put(1, "a", tier="db")
    tale.put(2, "a", tier="web")
    back = tale.put(3, "a", tier="db")
    gone = tale.contents.of(_at(first, 2))
    tale.watch(
        told(1, update(first), end=True),
        told(3, ended(gone), update(back)),
        send_initial=True,
        label_selector="tier=db",
    )
    assert watch_promises(tale.history).passed
    tale.watch(told(1, update(first), end=True), told(3, update(back)), send_initial=True, label_selector="tier=db")
    _violated(watch_promises(tale.history).offending, "without delete of")


def test_an_old_list_is_found() -> None:
    story = Story()
    story.history.commits.append(Commit(S, 3))
    story.watch(told(2, update(story.a2), update(story.b2), end=True), at_s=2, send_initial=True)
    _violated(watch_promises(story.history).offending, "though an apiserver's store knew of 3 at 1.000s")


def test_nobody_watched_is_no_success_where_it_was_asked_for() -> None:
    assert not watch_promises(History()).passed
    assert watch_promises(History(), asked=False).passed


def test_watch_latency() -> None:
    story = Story()
    story.watch(
        FIRST, told(1, update(story.a1)), told(2, update(story.a2), update(story.b2), at_s=3), send_initial=True
    )
    history = story.history
    history.commits = [Commit(S - 1_000_000, 1), Commit(2 * S, 2)]
    (overall, own) = summarize_latency(history)
    assert (overall.watcher, overall.events, overall.p50_ns, overall.max_ns) == ("all", 3, S, S)
    assert own.watcher == "o-1"
    assert watch_latency(history, percent=30, below_ns=2_000_000).passed
    _violated(watch_latency(history, percent=99, below_ns=S // 2).offending, "o-1 got revision 2 after 1000.000 ms")
    assert not watch_latency(History(), percent=99, below_ns=S).passed


def test_a_watcher_that_hears_before_the_other_apiserver_does_has_waited_for_nothing() -> None:
    story = Story()
    story.watch(FIRST, told(1, update(story.a1)), send_initial=True)
    story.history.commits = [Commit(S + 5, 1)]
    assert summarize_latency(story.history)[0].max_ns == 0


def _at(content: Content, revision: int) -> Object:
    obj = Object()
    obj.CopyFrom(content.obj)
    obj.metadata.revision = revision
    return obj


def _violated(offending: object, part: str) -> None:
    assert any(part in line for line in offending), offending  # type: ignore[attr-defined]
