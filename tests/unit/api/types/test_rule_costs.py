"""Hostile rules: what they could make of an object is bounded when they are pushed, and when an object is judged."""

from __future__ import annotations

from typing import Any

import pytest

from rube.api.errors import InvalidArgumentError
from rube.api.types.cost import COST_NS_MAX
from rube.api.types.rules import Rules
from tests.unit.api.types.described import cel, class_of, field, message, types

ITEM = ("Item", field("name", 1))


def made(rules: str, item_rules: str = "", resource: str = "") -> tuple[Any, Rules]:
    pool = types(
        message(*ITEM, rules=item_rules),
        message(
            "Backup",
            field("text", 1),
            field("items", 2, "MESSAGE", many=True, of="Item"),
            field("words", 3, many=True),
            rules=rules,
            resource=resource,
        ),
    )
    found = class_of(pool, "Backup")
    return found, Rules(found.DESCRIPTOR)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("[this.text].map(a, a + a + a).map(a, a + a + a) != []", "puts texts together in a loop"),
        ("[this.text].map(a, [a, a]).map(a, [a, a]) != []", "makes lists, maps or messages in map()"),
        ("[this.text].all(a, [a + a].all(b, b != ''))", "puts texts together in a loop"),
        ("this.words.all(a, this.text.replace(a, 'b') != '')", "calls replace() in a loop"),
        ("this.text.replace('', this.text) != ''", "calls replace() with what is no literal"),
        ("this.text.replace('a', 'aaaaaaaaaa') != ''", "calls replace() with what is no literal, or longer"),
        ("this.words.join(this.text) != ''", "calls join() twice, or with a separator that is long"),
        ("this.words.join(',').split(',').join(',') != ''", "calls join() twice"),
        ("this.text.format([1]) != ''", "calls format() on what is no literal"),
        ("'%.999999999f'.format([1.0]) != ''", "asks for 100 digits or more"),
        ("this.words.all(a, this.words.all(b, this.words.all(c, true)))", "has 3 loops, 3 in each other"),
        (" && ".join(["this.words.all(a, true)"] * 9), "has 9 loops, 1 in each other"),
    ],
)
def test_an_expression_that_can_grow_is_refused_at_the_push(expression: str, text: str) -> None:
    _, rules = made(cel(expression))
    with pytest.raises(InvalidArgumentError) as caught:
        rules.check()
    assert text in caught.value.message


@pytest.mark.parametrize(
    "expression",
    [
        "this.items.all(i, i.name != '')",
        "this.words.map(w, w + '.service').all(u, u.size() < 255)",
        "this.items.map(i, i.name).unique()",
        "this.items.filter(i, i.name == 'a').size() + 1 < 3",
        "this.items.exists(i, i.name == this.text)",
        "this.items.all(i, this.items.exists_one(j, j.name == i.name))",
        "['a', 'b'].exists(w, this.text.startsWith(w))",
        "this.text.split(',').all(w, w.matches('^[a-z]+$')) && this.text.replace('aa', 'a') == ''",
    ],
)
def test_usual_loops_are_taken(expression: str) -> None:
    Backup, rules = made(cel(expression))
    rules.check()
    rules.violations(Backup(text="a", items=[{"name": "a"}], words=["b"]))


@pytest.mark.parametrize(
    "expression",
    [
        "this.words.all(w, !this.text.matches('(a|b)*c'))",
        "this.words.all(w, w in this.words)",
        "[1, 2, 3, 4].all(a, [1, 2, 3, 4].all(b, this.text.contains('b')))",
    ],
)
def test_an_object_that_would_take_long_is_refused_unjudged(expression: str) -> None:
    Backup, rules = made(cel(expression))
    rules.check()
    assert rules.violations(Backup(text="a" * 100, words=["a"] * 100)) != [("", "", "cost")]
    large = Backup(text="a" * 1_000_000, words=["a"] * 9_000)
    (found,) = rules.violations(large)
    assert found == ("", f"has {large.ByteSize()} bytes, for which its rules in CEL take too long", "cost")


def test_rules_of_very_many_items_are_counted_not_guessed() -> None:
    Backup, rules = made("", item_rules=cel("this.name != ''"))
    assert rules.violations(Backup(text="a" * 1_000_000, items=[{"name": "a"}] * 100)) == []
    assert [each.rule for each in rules.violations(Backup(items=[{}] * (COST_NS_MAX // 10_000)))] == ["cost"]


def test_a_change_that_would_take_long_is_refused() -> None:
    rule = 'transitions { id: "t" expression: "old.words.all(w, w in new.words)" }'
    Backup, rules = made("", resource=rule)
    small, large = Backup(words=["a"] * 10), Backup(words=["a"] * 100_000)
    assert rules.violations(small, small) == []
    assert [each.rule for each in rules.violations(large, small)] == ["cost"]
    assert [each.rule for each in rules.violations(small, large)] == ["cost"]
    assert rules.violations(large) == []


def test_more_rules_than_a_type_can_have_are_refused() -> None:
    _, rules = made(" ".join(cel("true", rule=f"r{number}") for number in range(501)))
    with pytest.raises(InvalidArgumentError, match="has 501 rules in CEL and patterns, more than 500"):
        rules.check()
