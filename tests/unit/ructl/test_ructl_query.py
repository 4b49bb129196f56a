"""The query that a command line asks for."""

from __future__ import annotations

import click
import pytest

from rube.api import Metadata, Object, Unit
from rube.api.types import pack
from ructl.places import full_type_name, lack_of_type
from ructl.query import Query, parse_query

UNIT = "api.systemd.Unit"


def _unit(namespace: str, name: str, **labels: str) -> Object:
    metadata = Metadata(namespace=namespace, name=name, uid=f"uid-{name}", labels=labels)
    return Object(metadata=metadata, spec=pack(Unit()))


@pytest.mark.parametrize(
    "text",
    [
        'type = "api.systemd.Unit", metadata { namespace: "system", name: "indexer" }',
        'type: "api.systemd.Unit" metadata: { namespace: "system" name: "indexer" }',
        "type = 'Unit'; metadata = { namespace = 'system'; name = 'indexer' }",
    ],
)
def test_a_selector_means_the_same_as_the_options(text: str) -> None:
    assert parse_query(None, None, None, [text]) == parse_query(UNIT, "system", None, ["indexer"])


def test_labels_in_a_selector_are_required() -> None:
    query = parse_query(None, None, None, ['type = "Unit", metadata { labels { key: "node" value: "w1" } }'])
    assert query == parse_query("Unit", None, "node=w1", [])
    assert query.matches(_unit("a", "x", node="w1"))
    assert not query.matches(_unit("a", "x"))


def test_keys_are_known_without_asking_only_if_namespace_and_name_are() -> None:
    assert [str(key) for key in parse_query("Unit", "a", None, ["x", "y", "x"]).exact_keys()] == [
        "api.systemd.Unit/a/x",
        "api.systemd.Unit/a/y",
    ]
    assert [str(key) for key in parse_query("Node", None, None, ["w1"]).exact_keys()] == ["api.Node/w1"]
    assert not parse_query("Unit", None, None, ["x"]).exact_keys()
    assert not parse_query("Unit", "a", None, []).exact_keys()
    assert not parse_query("Unit", "a", "tier=test", ["x"]).exact_keys()


def test_a_query_matches_by_namespace_names_and_uid() -> None:
    query = Query(type=UNIT, namespace="a", names=("x", "y"))
    assert query.matches(_unit("a", "y"))
    assert not query.matches(_unit("b", "y"))
    assert not query.matches(_unit("a", "z"))
    assert Query(type=UNIT, uid="uid-x").matches(_unit("a", "x"))
    assert not Query(type=UNIT, uid="uid-x").matches(_unit("a", "y"))


def test_queries_read_well_in_errors() -> None:
    assert str(parse_query("Unit", None, None, [])) == "api.systemd.Unit"
    assert str(parse_query("Unit", "system", "a=b", [])) == "api.systemd.Unit system/* with a=b"
    assert str(parse_query("Unit", "system", None, ["x", "y"])) == "api.systemd.Unit system/x,y"
    assert str(parse_query("Unit", None, None, ["x"])) == "api.systemd.Unit x"


@pytest.mark.parametrize("name", ["api.systemd.Unit", "Unit", "unit"])
def test_the_last_part_of_a_type_is_enough(name: str) -> None:
    assert full_type_name(name) == UNIT


@pytest.mark.parametrize(
    ("type_name", "namespace", "labels", "names", "complaint"),
    [
        (None, None, None, ["indexer"], r"no type: did you mean 'ructl -t Unit indexer'\?"),
        ("Units", None, None, [], r"'Units' is not a type of object; did you mean 'Unit'\?"),
        ("api.systemd.Units", None, None, [], r"did you mean 'api.systemd.Unit'\?"),
        ("Unit", "System", None, [], "metadata.namespace 'System' is not a DNS label"),
        ("Unit", "system", None, ["Index"], "metadata.name 'Index' is not a DNS label"),
        ("Node", "system", None, [], "belongs to no namespace"),
        ("Unit", None, "a b", [], "label selector 'a b', column 3"),
        ("Unit", None, None, ['type = "Unit"'], "give a selector alone"),
        ("Unit", "a", None, ["b/x"], "'b/x' is of namespace 'b', and not of 'a': one namespace at a time"),
        ("Unit", None, None, ["a/x", "b/y"], "'b/y' is of namespace 'b', and not of 'a'"),
        ("Unit", None, None, ["api.Node/w1"], "'api.Node/w1' is of type 'api.Node', and not of 'api.systemd.Unit'"),
        ("Unit", None, None, ["a/b/x"], "metadata.name 'a/b/x' is not a DNS label"),
        (None, None, None, ['typ = "Unit"'], "selector:1:1: api.Selector has no field 'typ'"),
        (None, None, None, ['metadata { name: "x" }'], "the selector has no type"),
        (None, None, None, ['type = "Unit" metadata { revision: 3 }'], "a selector cannot use metadata.revision"),
    ],
)
def test_what_means_nothing_is_a_usage_error(
    type_name: str | None, namespace: str | None, labels: str | None, names: list[str], complaint: str
) -> None:
    with pytest.raises(click.UsageError, match=complaint):
        parse_query(type_name, namespace, labels, names)


@pytest.mark.parametrize(
    ("type_name", "names", "meant"),
    [
        ("Unit", ["system/indexer"], Query(type=UNIT, namespace="system", names=("indexer",))),
        ("Unit", ["system/a", "b"], Query(type=UNIT, namespace="system", names=("a", "b"))),
        (None, ["api.systemd.Unit/system/indexer"], Query(type=UNIT, namespace="system", names=("indexer",))),
        (None, ["api.Node/w1", "api.Node/w2"], Query(type="api.Node", names=("w1", "w2"))),
        ("Node", ["node/w1"], Query(type="api.Node", names=("w1",))),
    ],
)
def test_names_may_hold_their_namespace_and_type(type_name: str | None, names: list[str], meant: Query) -> None:
    assert parse_query(type_name, None, None, names) == meant


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (["Unit"], "did you mean 'ructl list -t Unit'?"),
        (["nodes"], "did you mean 'ructl list -t Node'?"),
        (["unit", "web", "db"], "did you mean 'ructl list -t Unit web db'?"),
        (["unit/web"], "did you mean 'ructl list -t Unit web'?"),
        (["default/web"], "did you mean 'ructl list -t Unit default/web'?"),
        (["node", "w1"], "did you mean 'ructl list -t Node w1'?"),
        (
            [],
            "give one with -t (Binding, Event, Lease, Namespace, Node, Revocation, Role, Token, Type, "
            "Unit), such as 'ructl list -t Unit'",
        ),
    ],
)
def test_a_type_among_the_names_is_told_where_it_belongs(names: list[str], meant: str) -> None:
    assert lack_of_type("ructl list", names) == f"no type: {meant}"
