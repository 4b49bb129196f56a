"""The rules of types: each kind, changes, two versions of one type, and rules that can never work."""

from __future__ import annotations

from typing import Any

import pytest

from rube.api.errors import InvalidArgumentError
from rube.api.types.options import validate_file
from rube.api.types.rules import Rules
from tests.unit.api.types.described import cel, class_of, field, message, types

ITEM = message("Item", field("name", 1, rules="string { min_len: 2 }"), field("size", 2, "INT32"))


def one(*fields: str, rules: str = "", resource: str = "", more: tuple[str, ...] = ()) -> tuple[Any, Rules]:
    """Returns the class of a message with these fields, and its rules."""
    made = class_of(types(*more, message("Backup", *fields, rules=rules, resource=resource)), "Backup")
    return made, Rules(made.DESCRIPTOR)


def said(rules: Rules, spec: Any, previous: Any = None) -> list[tuple[str, str, str]]:
    return [(each.field, each.rule, each.text) for each in rules.violations(spec, previous)]


def test_a_message_without_rules_loads_no_engine() -> None:
    Backup, rules = one(field("target", 1))
    assert not rules.any
    assert rules.violations(Backup(target="x")) == []
    rules.check()


@pytest.mark.parametrize(
    ("kind", "rule", "wrong", "right", "expected"),
    [
        ("INT32", "int32 { gte: -20 lte: 19 }", 40, 3, ("int32.gte_lte", "40 must be")),
        ("STRING", 'string { pattern: "^[a-z]+$" }', "A", "a", ("string.pattern", "'A' does not match")),
        ("STRING", "required: true", "", "a", ("required", "value is required")),
        ("STRING", 'string { in: "a" in: "b" }', "c", "b", ("string.in", "'c' must be in")),
        ("DOUBLE", "double { gt: 0 finite: true }", float("inf"), 0.5, ("double.finite", "inf must be finite")),
        ("STRING", cel("this.startsWith('/')", message="is no path"), "x", "/x", ("r", "is no path")),
        ("STRING", "cel_expression: \"this != 'x' ? '' : 'is x'\"", "x", "y", ("this != 'x' ? '' : 'is x'", "is x")),
    ],
)
def test_a_field_is_judged_by_its_rule(
    kind: str, rule: str, wrong: object, right: object, expected: tuple[str, str]
) -> None:
    Backup, rules = one(field("of_it", 1, kind, rule))
    rules.check()
    assert rules.violations(Backup(of_it=right)) == []
    ((place, found, text),) = said(rules, Backup(of_it=wrong))
    assert (place, found) == ("of_it", expected[0])
    assert text.startswith(expected[1])


def test_all_errors_are_found_at_once_by_their_paths() -> None:
    Backup, rules = one(
        field("target", 1, rules="required: true"), field("items", 2, "MESSAGE", many=True, of="Item"), more=(ITEM,)
    )
    spec = Backup(items=[{"name": "ok"}, {"name": "a"}, {"name": ""}])
    assert [(place, rule) for place, rule, _ in said(rules, spec)] == [
        ("target", "required"),
        ("items[1].name", "string.min_len"),
        ("items[2].name", "string.min_len"),
    ]


def test_a_message_has_rules_of_its_own() -> None:
    rules = cel("this.items.all(i, i.size <= this.limit)", rule="fits", message="an item is larger than limit")
    Backup, judge = one(
        field("limit", 1, "INT32"), field("items", 2, "MESSAGE", many=True, of="Item"), rules=rules, more=(ITEM,)
    )
    judge.check()
    assert said(judge, Backup(limit=3, items=[{"name": "ab", "size": 3}])) == []
    assert said(judge, Backup(limit=3, items=[{"name": "ab", "size": 4}])) == [
        ("", "fits", "an item is larger than limit")
    ]


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ("limit.fits", "inner[1].limit"),
        ("best.size.fits", "inner[1].best.size"),
        ("items.size.fits", "inner[1].items"),
        ("nothing.fits", "inner[1]"),
        ("limit", "inner[1]"),
    ],
)
def test_a_rule_of_a_message_is_about_the_field_that_its_id_begins_with(rule: str, place: str) -> None:
    inner = message(
        "Inner",
        *(field("limit", 1, "INT32"), field("best", 2, "MESSAGE", of="Item")),
        field("items", 3, "MESSAGE", many=True, of="Item"),
        rules=cel("this.limit == 0", rule=rule, message="is wrong"),
    )
    Backup, judge = one(field("inner", 1, "MESSAGE", many=True, of="Inner"), more=(ITEM, inner))
    assert said(judge, Backup(inner=[{}, {"limit": 1}])) == [(place, rule, "is wrong")]


def test_a_rule_of_a_list_is_about_the_list() -> None:
    rule = cel("this.all(i, i.size == 0)", rule="size.zero", message="has sizes")
    Backup, judge = one(field("items", 2, "MESSAGE", rule, many=True, of="Item"), more=(ITEM,))
    assert said(judge, Backup(items=[{"name": "ab", "size": 1}])) == [("items", "size.zero", "has sizes")]


def test_an_error_of_an_evaluation_refuses_the_object_alone() -> None:
    Backup, rules = one(field("n", 1, "INT32"), rules=cel("10 / this.n > 1"))
    rules.check()
    assert said(rules, Backup(n=0)) == [("", "r", "cannot be judged by the rule r: divide by zero")]
    assert said(rules, Backup(n=2)) == []


IMMUTABLE = (
    'transitions { id: "target-is-immutable" message: "the target is fixed" expression: "old.target == new.target" }'
    'transitions { id: "grows" expression: "new.n >= old.n ? \\"\\" : \\"n shrinks\\"" }'
)


def test_a_change_is_judged_by_the_transitions() -> None:
    Backup, rules = one(field("target", 1), field("n", 2, "INT32"), resource=IMMUTABLE)
    rules.check()
    old = Backup(target="a", n=2)
    assert said(rules, Backup(target="b", n=1)) == []
    assert said(rules, Backup(target="a", n=3), old) == []
    assert said(rules, Backup(target="b", n=1), old) == [
        ("", "target-is-immutable", "the target is fixed"),
        ("", "grows", "n shrinks"),
    ]


def test_a_change_does_not_judge_the_previous_spec() -> None:
    Backup, rules = one(field("target", 1, rules="string { max_len: 1 }"), field("n", 2, "INT32"), resource=IMMUTABLE)
    found = said(rules, Backup(target="cc"), Backup(target="bb"))
    assert [(place, rule) for place, rule, _ in found] == [("target", "string.max_len"), ("", "target-is-immutable")]


def test_two_versions_of_a_type_keep_their_own_rules() -> None:
    First, first = one(field("n", 1, "INT32", "int32 { lte: 1 }"))
    Second, second = one(field("n", 1, "INT32", "int32 { lte: 5 }"))
    for _ in range(2):
        assert [rule for _, rule, _ in said(first, First(n=3))] == ["int32.lte"]
        assert said(second, Second(n=3)) == []
    assert [rule for _, rule, _ in said(first, Second(n=3))] == ["int32.lte"], "another pool's message, these rules"


BAD = [
    ("INT32", cel("this.n =="), "r", "has the end at position 9 in place of a value"),
    ("INT32", cel("this.m == 1"), "r", "reads a field 'm' of acme.Backup; known: items, n"),
    ("INT32", cel("this.items.all(i, i.nam != '')"), "r", "reads a field 'nam' of acme.Item; did you mean 'name'?"),
    ("INT32", cel("false && that.n == 1"), "r", "reads 'that'; known: this"),
    ("INT32", cel("this.n.x == 1"), "r", "reads .x of a number, which has no fields"),
    ("INT32", cel("this.n + 'a' == ''"), "r", "fails: No matching overloads found : _+_(int64, string)"),
    ("INT32", cel("this.n"), "r", "fails: an unexpected type, wanted either bool or string"),
    ("INT32", cel("nofunc(this.n)"), "r", "does not compile: No overloads provided for FunctionStep creation"),
    ("INT32", cel("this.n > 0 || now == now"), "r", "reads `now`: a spec is right or wrong at any time alike"),
    ("INT32", cel("true", rule=""), "'true'", "has no id: set one"),
    ("INT32", cel("true") + cel("false"), "r", "is there twice: give each an id of its own"),
    ("INT32", cel("true || " * 300 + "true"), "r", "has 2404 characters, more than 2000: write several rules"),
    ("INT32", cel("(" * 40 + "true" + ")" * 40), "r", "has brackets in brackets, more than 32 deep"),
]


@pytest.mark.parametrize(("kind", "rules", "rule", "text"), BAD)
def test_a_rule_that_cannot_work_is_refused_at_the_push(kind: str, rules: str, rule: str, text: str) -> None:
    items = field("items", 2, "MESSAGE", many=True, of="Item")
    _, judge = one(field("n", 1, kind), items, rules=rules, more=(ITEM,))
    with pytest.raises(InvalidArgumentError) as caught:
        judge.check()
    assert caught.value.message == f"acme.Backup: the rule {rule} {text}"


@pytest.mark.parametrize(
    ("kind", "rules", "text"),
    [
        ("STRING", 'string { pattern: "(" }', "the rule string.pattern does not compile: missing ): ("),
        (
            "STRING",
            f'string {{ pattern: "{"a" * 1001}" }}',
            "the rule string.pattern has 1001 characters, more than 1000",
        ),
        ("INT32", "string { min_len: 1 }", 'does not compile: expected rule "buf.validate.FieldRules.int32"'),
        ("STRING", cel("this.size() > this.x"), "the rule r reads .x of a text, which has no fields"),
        ("STRING", cel("size(this) > this"), "the rule r fails: No matching overloads"),
    ],
)
def test_a_rule_of_a_field_that_cannot_work_names_the_field(kind: str, rules: str, text: str) -> None:
    _, judge = one(field("n", 1, kind, rules))
    with pytest.raises(InvalidArgumentError) as caught:
        judge.check()
    assert caught.value.message.startswith(f"acme.Backup.n: {text}")
    assert caught.value.metadata["field"] == "n"
    assert caught.value.metadata["message"] == "acme.Backup"


def test_a_rule_of_the_time_is_refused() -> None:
    time = (
        'field { name: "at" number: 1 type: TYPE_MESSAGE label: LABEL_OPTIONAL type_name: ".google.protobuf.Timestamp" '
    )
    rule = "options { [buf.validate.field] { timestamp { lt_now: true } } } }"
    made = types('dependency: "google/protobuf/timestamp.proto"', message("Backup", time + rule))
    with pytest.raises(InvalidArgumentError, match=r"timestamp\.lt_now depends on the time"):
        Rules(class_of(made, "Backup").DESCRIPTOR).check()


def test_a_transition_that_cannot_work_is_refused() -> None:
    for expression, text in (
        ("old.target == new.targte", "reads a field 'targte' of acme.Backup; did you mean 'target'?"),
        ("this.target == ''", "reads 'this'; known: new, old"),
        ("size(old.target)", "fails: an unexpected type, wanted either bool or string"),
        ("old.target ==", "has the end at position 13 in place of a value"),
    ):
        _, rules = one(field("target", 1), resource=f'transitions {{ id: "t" expression: "{expression}" }}')
        with pytest.raises(InvalidArgumentError) as caught:
            rules.check()
        assert caught.value.message == f"acme.Backup: the rule t {text}"


def test_the_provided_file_is_the_one_that_the_engine_reads() -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from protovalidate._gen.buf.validate import validate_pb

    ours = FileDescriptorProto.FromString(validate_file())
    theirs = {name for name in dir(validate_pb) if name.endswith("Rules")}
    assert {each.name for each in ours.message_type if each.name.endswith("Rules")} == theirs
