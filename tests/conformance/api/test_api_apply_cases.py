"""The owners of fields, case by case, as in Kubernetes' server-side apply: what each step leaves, and who owns it."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from rube.api import (
    GetRequest,
    OwnerReference,
    Unit,
)
from rube.api.types import BUILTIN
from tests.conformance.api.api_sites import Site, key, serve
from tests.conformance.api.apply_steps import Case, Delete, Report, apply, item, leaves, patch, put

D = "spec.description"
ONE = OwnerReference(type="api.Node", uid="1", name="one")
TWO = OwnerReference(type="api.Node", uid="2", name="two")
CASES = [
    # One owner.
    Case("create", [apply("x", "description: 'a'")], "description: 'a'", {"x": [D]}),
    Case("twice", [apply("x", "description: 'a'")] * 2, "description: 'a'", {"x": [D]}),
    Case(
        "own field changes",
        [apply("x", "description: 'a'"), apply("x", "description: 'b'")],
        "description: 'b'",
        {"x": [D]},
    ),
    Case(
        "own field left out goes away",
        [apply("x", "description: 'a' enabled: true"), apply("x", "enabled: true")],
        "enabled: true",
        {"x": ["spec.enabled"]},
    ),
    Case("everything left out", [apply("x", "description: 'a'"), apply("x", "")], "", {}),
    # Two owners.
    Case(
        "disjoint fields",
        [apply("x", "description: 'a'"), apply("y", "enabled: true")],
        "description: 'a' enabled: true",
        {"x": [D], "y": ["spec.enabled"]},
    ),
    Case(
        "same value is shared",
        [apply("x", "description: 'a'"), apply("y", "description: 'a'")],
        "description: 'a'",
        {"x": [D], "y": [D]},
    ),
    Case(
        "another value conflicts",
        [apply("x", "description: 'a'"), apply("y", "description: 'b'", ("x", D))],
        "description: 'a'",
        {"x": [D]},
    ),
    Case(
        "a conflict names every owner",
        [
            apply("x", "description: 'a'"),
            apply("y", "description: 'a'"),
            apply("z", "description: 'b'", ("x", D), ("y", D)),
        ],
        "description: 'a'",
        {"x": [D], "y": [D]},
    ),
    Case(
        "a sharing owner conflicts when it changes",
        [
            apply("x", "description: 'a'"),
            apply("y", "description: 'a'"),
            apply("x", "description: 'b'", ("y", D)),
        ],
        "description: 'a'",
        {"x": [D], "y": [D]},
    ),
    Case(
        "force takes over",
        [apply("x", "description: 'a' enabled: true"), apply("y", "description: 'b'", force=True)],
        "description: 'b' enabled: true",
        {"x": ["spec.enabled"], "y": [D]},
    ),
    Case(
        "force takes over from all",
        [
            apply("x", "description: 'a'"),
            apply("y", "description: 'a'"),
            apply("z", "description: 'b'", force=True),
        ],
        "description: 'b'",
        {"z": [D]},
    ),
    Case(
        "who lost a field to force conflicts then",
        [
            apply("x", "description: 'a'"),
            apply("y", "description: 'b'", force=True),
            apply("x", "description: 'a'", ("y", D)),
        ],
        "description: 'b'",
        {"y": [D]},
    ),
    Case(
        "force without a conflict shares",
        [apply("x", "description: 'a'"), apply("y", "description: 'a'", force=True)],
        "description: 'a'",
        {"x": [D], "y": [D]},
    ),
    Case(
        "a shared field stays when one leaves",
        [apply("x", "description: 'a'"), apply("y", "description: 'a'"), apply("x", "enabled: true")],
        "description: 'a' enabled: true",
        {"x": ["spec.enabled"], "y": [D]},
    ),
    Case(
        "a shared field goes away with its last owner",
        [apply("x", "description: 'a'"), apply("y", "description: 'a'"), apply("x", ""), apply("y", "")],
        "",
        {},
    ),
    Case(
        "what is left after a takeover is not removed by the former owner",
        [apply("x", "description: 'a'"), apply("y", "description: 'b'", force=True), apply("x", "")],
        "description: 'b'",
        {"y": [D]},
    ),
    # Puts and patches.
    Case(
        "a put shares nothing that it leaves",
        [apply("x", "description: 'a'"), put("description: 'a'")],
        "description: 'a'",
        {"x": [D]},
    ),
    Case(
        "a put takes what it changes",
        [apply("x", "description: 'a' enabled: true"), put("description: 'b' enabled: true")],
        "description: 'b' enabled: true",
        {"put": [D], "x": ["spec.enabled"]},
    ),
    Case(
        "the applier conflicts with the put in between",
        [
            apply("x", "description: 'a'"),
            put("description: 'b'"),
            apply("x", "description: 'a'", ("put", D)),
        ],
        "description: 'b'",
        {"put": [D]},
    ),
    Case(
        "the applier follows the put in between",
        [apply("x", "description: 'a'"), put("description: 'b'"), apply("x", "description: 'b'")],
        "description: 'b'",
        {"put": [D], "x": [D]},
    ),
    Case(
        "an apply leaves what a put added",
        [
            apply("x", "description: 'a'"),
            put("description: 'a' enabled: true"),
            apply("x", "description: 'b'"),
        ],
        "description: 'b' enabled: true",
        {"put": ["spec.enabled"], "x": [D]},
    ),
    Case(
        "an apply sets again what a put removed",
        [apply("x", "description: 'a'"), put(""), apply("x", "description: 'a'")],
        "description: 'a'",
        {"x": [D]},
    ),
    Case(
        "an applier that left out a field after a put took it keeps it",
        [apply("x", "description: 'a'"), put("description: 'b'"), apply("x", "")],
        "description: 'b'",
        {"put": [D]},
    ),
    Case(
        "a put can name its owner",
        [apply("x", "description: 'a'"), put("description: 'b'", owner="editor")],
        "description: 'b'",
        {"editor": [D]},
    ),
    Case(
        "a patch takes what it changes",
        [
            apply("x", "description: 'a' enabled: true"),
            patch("description: 'b' enabled: true", D, "spec.enabled", owner="hand"),
        ],
        "description: 'b' enabled: true",
        {"hand": [D], "x": ["spec.enabled"]},
    ),
    Case(
        "a patch clears a field of an applier",
        [apply("x", "description: 'a' enabled: true"), patch("", D)],
        "enabled: true",
        {"x": ["spec.enabled"]},
    ),
    Case(
        "what an applier patches by its own name goes with its next apply",
        [apply("x", "description: 'a'"), patch("enabled: true", "spec.enabled", owner="x"), apply("x", "")],
        "",
        {},
    ),
    Case(
        "the first apply shares what a put made",
        [put("description: 'a' enabled: true"), apply("x", "description: 'a'")],
        "description: 'a' enabled: true",
        {"put": [D, "spec.enabled"], "x": [D]},
    ),
    Case(
        "the first apply conflicts with what a put made",
        [put("description: 'a'"), apply("x", "description: 'b'", ("put", D))],
        "description: 'a'",
        {"put": [D]},
    ),
    Case(
        "the first apply takes over by force",
        [put("description: 'a' enabled: true"), apply("x", "description: 'b'", force=True)],
        "description: 'b' enabled: true",
        {"put": ["spec.enabled"], "x": [D]},
    ),
    Case(
        "what a put shares stays",
        [put("description: 'a'"), apply("x", "description: 'a'"), apply("x", "")],
        "description: 'a'",
        {"put": [D]},
    ),
    Case(
        "before the first apply an owner's name is not kept",
        [put("description: 'a'", owner="editor"), apply("x", "enabled: true")],
        "description: 'a' enabled: true",
        {"put": [D], "x": ["spec.enabled"]},
    ),
    # Messages in messages.
    Case(
        "messages are merged by field",
        [apply("x", "service { user: 'u' }"), apply("y", "service { group: 'g' }")],
        "service { user: 'u' group: 'g' }",
        {"x": ["spec.service.user"], "y": ["spec.service.group"]},
    ),
    Case(
        "a conflict names the field within",
        [
            apply("x", "service { exec { start: '/a' } user: 'u' }"),
            apply("y", "service { exec { start: '/b' } user: 'u' }", ("x", "spec.service.exec.start")),
        ],
        "service { exec { start: '/a' } user: 'u' }",
        {"x": ["spec.service.exec.start", "spec.service.user"]},
    ),
    Case(
        "all conflicts are named at once",
        [
            apply("x", "description: 'a' service { user: 'u' }"),
            apply("y", "enabled: true"),
            apply("z", "description: 'b' service { user: 'v' }", ("x", D), ("x", "spec.service.user")),
        ],
        "description: 'a' enabled: true service { user: 'u' }",
        {"x": [D, "spec.service.user"], "y": ["spec.enabled"]},
    ),
    Case(
        "an empty message stays with its owner",
        [apply("x", "service {}"), apply("y", "service { user: 'u' }"), apply("y", "")],
        "service {}",
        {"x": ["spec.service"]},
    ),
    Case(
        "a field within stays when another owner leaves the message",
        [apply("x", "service { user: 'u' }"), apply("y", "service { group: 'g' }"), apply("x", "")],
        "service { group: 'g' }",
        {"y": ["spec.service.group"]},
    ),
    Case(
        "a message goes away with its last owner",
        [apply("x", "service { exec { start: '/a' } }"), apply("x", "description: 'a'")],
        "description: 'a'",
        {"x": [D]},
    ),
    Case(
        "what a put adds in a message stays when the applier leaves it",
        [apply("x", "service { user: 'u' }"), put("service { user: 'u' group: 'g' }"), apply("x", "")],
        "service { group: 'g' }",
        {"put": ["spec.service.group"]},
    ),
    # Maps.
    Case(
        "maps are merged by key",
        [
            apply("x", "service { environment { key: 'A' value: '1' } }"),
            apply("y", "service { environment { key: 'B' value: '2' } }"),
        ],
        "service { environment { key: 'A' value: '1' } environment { key: 'B' value: '2' } }",
        {"x": ["spec.service.environment.A"], "y": ["spec.service.environment.B"]},
    ),
    Case(
        "keys conflict",
        [
            apply("x", "service { environment { key: 'A.b' value: '1' } }"),
            apply("y", "service { environment { key: 'A.b' value: '2' } }", ("x", "spec.service.environment.`A.b`")),
        ],
        "service { environment { key: 'A.b' value: '1' } }",
        {"x": ["spec.service.environment.`A.b`"]},
    ),
    Case(
        "a key goes away with its owner",
        [
            apply("x", "service { environment { key: 'A' value: '1' } environment { key: 'C.d' value: '1' } }"),
            apply("y", "service { environment { key: 'B' value: '2' } }"),
            apply("x", "service { environment { key: 'A' value: '1' } }"),
        ],
        "service { environment { key: 'A' value: '1' } environment { key: 'B' value: '2' } }",
        {"x": ["spec.service.environment.A"], "y": ["spec.service.environment.B"]},
    ),
    Case(
        "labels and annotations are maps",
        [
            apply("x", "", labels={"tier": "web", "team": "a"}, annotations={"note": "1"}),
            apply("y", "", labels={"zone": "1"}),
            apply("x", "", labels={"tier": "web"}),
        ],
        "",
        {"x": ["metadata.labels.tier"], "y": ["metadata.labels.zone"]},
        labels={"tier": "web", "zone": "1"},
        annotations={},
    ),
    Case(
        "labels conflict",
        [
            apply("x", "", labels={"example.com/tier": "web"}),
            apply("y", "", ("x", "metadata.labels.`example.com/tier`"), labels={"example.com/tier": "db"}),
        ],
        "",
        {"x": ["metadata.labels.`example.com/tier`"]},
        labels={"example.com/tier": "web"},
    ),
    # Lists.
    Case(
        "a list is one value",
        [
            apply("x", "doc_url: 'http:a'"),
            apply("y", "doc_url: 'http:a' doc_url: 'http:b'", ("x", "spec.doc_url")),
        ],
        "doc_url: 'http:a'",
        {"x": ["spec.doc_url"]},
    ),
    Case(
        "equal lists are shared",
        [apply("x", "doc_url: 'http:a'"), apply("y", "doc_url: 'http:a'"), apply("x", "")],
        "doc_url: 'http:a'",
        {"y": ["spec.doc_url"]},
    ),
    Case(
        "its owner replaces a list",
        [apply("x", "doc_url: 'http:a' doc_url: 'http:b'"), apply("x", "doc_url: 'http:c'")],
        "doc_url: 'http:c'",
        {"x": ["spec.doc_url"]},
    ),
    Case(
        "the order of a list counts",
        [
            apply("x", "doc_url: 'http:a' doc_url: 'http:b'"),
            apply("y", "doc_url: 'http:b' doc_url: 'http:a'", ("x", "spec.doc_url")),
        ],
        "doc_url: 'http:a' doc_url: 'http:b'",
        {"x": ["spec.doc_url"]},
    ),
    Case(
        "items of a set have owners",
        [apply("x", "after: 'a' after: 'b'"), apply("y", "after: 'c'"), apply("x", "after: 'a'")],
        "after: 'a' after: 'c'",
        {"x": ["spec.after.a"], "y": ["spec.after.c"]},
    ),
    Case(
        "a shared item of a set stays",
        [apply("x", "after: 'a' after: 'b.target'"), apply("y", "after: 'b.target'"), apply("x", "after: 'a'")],
        "after: 'a' after: 'b.target'",
        {"x": ["spec.after.a"], "y": ["spec.after.`b.target`"]},
    ),
    Case(
        "its owner orders a set",
        [apply("x", "after: 'a' after: 'b'"), apply("x", "after: 'b' after: 'a'")],
        "after: 'b' after: 'a'",
        {"x": ["spec.after.a", "spec.after.b"]},
    ),
    Case(
        "a put adds to a set and takes from it",
        [apply("x", "after: 'a' after: 'b'"), put("after: 'b' after: 'c'"), apply("x", "after: 'b'")],
        "after: 'b' after: 'c'",
        {"put": ["spec.after.c"], "x": ["spec.after.b"]},
    ),
    Case(
        "items of a keyed list have owners",
        [
            apply("x", "", owner_references=[ONE]),
            apply("y", "", owner_references=[TWO]),
            apply("x", "", owner_references=[OwnerReference(type="api.Node", uid="1", name="other")]),
        ],
        "",
        {"x": item(1), "y": item(2)},
        references=[OwnerReference(type="api.Node", uid="1", name="other"), TWO],
    ),
    Case(
        "fields of one item have owners",
        [
            apply("x", "", owner_references=[ONE]),
            apply("y", "", owner_references=[OwnerReference(uid="1", name="one")]),
            apply(
                "z",
                "",
                ("x", "metadata.owner_references.1.name"),
                ("y", "metadata.owner_references.1.name"),
                owner_references=[OwnerReference(uid="1", name="three", type="api.Node")],
            ),
        ],
        "",
        {"x": item(1), "y": ["metadata.owner_references.1.name"]},
        references=[ONE],
    ),
    Case(
        "an item goes away with its last owner",
        [
            apply("x", "", owner_references=[ONE, TWO]),
            apply("y", "", owner_references=[TWO]),
            apply("x", ""),
        ],
        "",
        {"y": item(2)},
        references=[TWO],
    ),
    # Presence.
    Case(
        "a zero with presence is owned",
        [apply("x", "service { nice: 0 }"), apply("y", "service { nice: 5 }", ("x", "spec.service.nice"))],
        "service { nice: 0 }",
        {"x": ["spec.service.nice"]},
    ),
    Case(
        "a zero without presence is not set",
        [apply("x", "enabled: true"), apply("y", "enabled: false description: 'a'")],
        "enabled: true description: 'a'",
        {"x": ["spec.enabled"], "y": [D]},
    ),
    # The object.
    Case(
        "a status has no owner",
        [apply("x", "description: 'a'"), Report(), apply("x", "description: 'b'")],
        "description: 'b'",
        {"x": [D]},
    ),
    Case(
        "owners are gone with the object",
        [apply("x", "description: 'a'"), Delete(), put("description: 'b'")],
        "description: 'b'",
        {"put": [D]},
    ),
    Case(
        "an apply makes a deleted object anew",
        [apply("x", "description: 'a'"), apply("y", "enabled: true"), Delete(), apply("y", "enabled: true")],
        "enabled: true",
        {"y": ["spec.enabled"]},
    ),
    Case(
        "who leaves the node label out keeps the binding",
        [apply("x", "", labels={"node": "n1"}), apply("x", "description: 'a'")],
        "description: 'a'",
        {"put": ["metadata.labels.node"], "x": [D]},
        labels={"node": "n1"},
    ),
    Case(
        "a binding by another conflicts",
        [
            apply("x", ""),
            put("", owner="placement", labels={"node": "n1"}),
            apply("x", "", ("placement", "metadata.labels.node"), labels={"node": "n2"}),
        ],
        "",
        {"placement": ["metadata.labels.node"]},
        labels={"node": "n1"},
    ),
    Case(
        "an empty node label unbinds",
        [put("", labels={"node": "n1"}), apply("x", "description: 'a'", force=True, labels={"node": ""})],
        "description: 'a'",
        {"x": [D]},
        labels={},
    ),
    Case(
        "a request to Rube stays when an applier does not mention it",
        [
            put("", annotations={"rube/restart": "1"}),
            apply("x", "description: 'a'", annotations={"note": "n"}),
            apply("x", "description: 'a'"),
        ],
        "description: 'a'",
        {"put": ["metadata.annotations.`rube/restart`"], "x": [D]},
        annotations={"rube/restart": "1"},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name.replace(" ", "-") for case in CASES])
async def test_who_owns_what(site: Site, case: Case) -> None:
    async with serve(site) as api:
        for step in case.steps:
            await step.run(api)
        found = await api.client.get(GetRequest(key=key("a"), include_owners=True))
        assert BUILTIN.unpack(found.object.spec) == text_format.Parse(case.spec, Unit())
        metadata = found.object.metadata
        if case.labels is not None:
            assert dict(metadata.labels) == case.labels
        if case.annotations is not None:
            assert dict(metadata.annotations) == case.annotations
        if case.references is not None:
            assert list(metadata.owner_references) == case.references
        assert {item.owner: leaves(item.fields) for item in found.owners.items} == case.owners
