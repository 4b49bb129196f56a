from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rube.api import selectors
from rube.api.errors import InvalidArgumentError
from rube.api.selectors import LabelSelector

_KEYS = st.sampled_from(["a", "node", "x.y/z", "in", "notin"])
_VALUES = st.sampled_from(["", "1", "worker-1", "in", "a.b_c"])
_REQUIREMENTS = st.one_of(
    st.builds("{}={}".format, _KEYS, _VALUES),
    st.builds("{} != {}".format, _KEYS, _VALUES),
    st.builds("!{}".format, _KEYS),
    _KEYS,
    st.builds(
        lambda key, word, values: f"{key} {word} ({', '.join(values)})",
        _KEYS,
        st.sampled_from(["in", "notin"]),
        st.lists(_VALUES, min_size=1, max_size=3),
    ),
)


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("node=worker-1", {"node": "worker-1"}, True),
        ("node==worker-1", {"node": "worker-2"}, False),
        ("node=worker-1", {}, False),
        ("tier!=test", {}, True),
        ("tier!=test", {"tier": "test"}, False),
        ("owner", {"owner": ""}, True),
        ("owner", {}, False),
        ("!paused", {}, True),
        ("!paused", {"paused": "no"}, False),
        ("zone in (a, b)", {"zone": "b"}, True),
        ("zone in (a,b)", {}, False),
        ("zone notin (a,b)", {"zone": "c"}, True),
        ("zone notin (a,b)", {}, True),
        ("zone notin (a,b)", {"zone": "a"}, False),
        ("a=1,b=2", {"a": "1", "b": "2", "c": "3"}, True),
        ("a=1,b=2", {"a": "1"}, False),
        ("a=", {"a": ""}, True),
        ("a=", {}, False),
    ],
)
def test_matches_as_kubernetes_does(text: str, labels: dict[str, str], matches: bool) -> None:
    assert selectors.parse(text).matches(labels) is matches


@given(st.lists(_REQUIREMENTS, max_size=5), st.dictionaries(_KEYS, _VALUES))
def test_the_canonical_text_parses_back_and_means_the_same(parts: list[str], labels: dict[str, str]) -> None:
    selector = selectors.parse(" , ".join(parts))
    assert selectors.parse(str(selector)) == selector
    assert selector.matches(labels) == all(selectors.parse(part).matches(labels) for part in parts)


def test_the_canonical_text_does_not_depend_on_the_order() -> None:
    assert str(selectors.parse("b=1,!c,a in (y,x),d notin (z)")) == str(selectors.parse("a in (x,y),d!=z,b==1,!c"))


def test_a_selector_of_labels_matches_what_carries_them_all() -> None:
    assert str(LabelSelector.of_labels({"b": "2", "a": ""})) == "a=,b=2"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a b", r"column 3, at 'b': expected '=', '!=', 'in', 'notin' or ','"),
        ("a in b", r"column 6, at 'b': expected '\('"),
        ("a in (b", r"at the end: expected ',' or '\)'"),
        ("a=b,,c", r"column 5, at ',': label key is not valid"),
        ("=b", "column 1"),
        ("a=b=c", "column 4"),
        ("a=-b", "value is not valid"),
        ("a=" + "x" * 64, "value is not valid"),
        ("!", "expected a label's key"),
        (",".join(f"a{n}" for n in range(65)), "more than 64 requirements"),
    ],
)
def test_errors_name_the_place(text: str, complaint: str) -> None:
    with pytest.raises(InvalidArgumentError, match=complaint):
        selectors.parse(text)


@pytest.mark.parametrize("labels", [{"a b": ""}, {"a": "x y"}, {"": "x"}, {"a": "x,y"}, {"/a": ""}, {"a": "x\n"}])
def test_labels_that_no_selector_could_name_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(InvalidArgumentError, match="label"):
        selectors.validate_labels(labels)


def test_usual_labels_are_valid() -> None:
    selectors.validate_labels({"node": "worker-1", "example.com/tier": "a_b.c", "empty": ""})
