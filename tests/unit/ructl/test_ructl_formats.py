"""JSON and YAML that `ructl put` takes: what is read, what is ignored, and the bounds on what a stranger hands over."""

from __future__ import annotations

import json

import pytest

from rube.api import Metadata, Object, Service, Unit, UnitStatus
from rube.api.errors import InvalidArgumentError
from rube.api.types import BUILTIN, pack
from ructl.formats import format_of, parse_json, parse_yaml
from ructl.output import json_value, yaml_text

YAML = """
# a comment
metadata: {namespace: default, name: web, labels: {tier: "1"}}
spec:
  "@type": rube/api.systemd.Unit
  service:
    restart: NO
    umask: 0022
    exec: {start: [/bin/serve]}
"""


def unit_of(obj: Object) -> Unit:
    unit = BUILTIN.unpack(obj.spec)
    assert isinstance(unit, Unit)
    return unit


def stored() -> Object:
    """An object as a server gives it, with everything that it sets."""
    unit = Unit(description='ü "q": # - 2026-01-01')
    unit.service.exec.start.append("/bin/serve --a='b'\\n")
    unit.service.restart = Service.NO
    unit.service.umask = "0022"
    unit.service.environment["YES"] = "no"
    unit.service.limits.open_files = 2**63
    unit.service.time.restart = 0.25
    obj = Object(spec=pack(unit), status=pack(UnitStatus(active_state="active")))
    metadata = obj.metadata
    metadata.namespace, metadata.name, metadata.uid = "default", "web", "u"
    metadata.revision, metadata.create_revision, metadata.generation = 9, 3, 2
    metadata.create_time.FromSeconds(1_700_000_000)
    metadata.labels["node"] = "worker-1"
    metadata.annotations["rube/restart"], metadata.annotations["why"] = "old", "no"
    return obj


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_what_get_prints_is_read_back_without_what_the_server_sets(kind: str) -> None:
    value = json_value(stored())
    text = json.dumps(value, indent=2) if kind == "json" else yaml_text(value)
    parse = parse_json if kind == "json" else parse_yaml
    (document,) = parse(text, "f")
    (obj,) = document.objects
    assert unit_of(obj) == BUILTIN.unpack(stored().spec)
    wanted = Metadata(namespace="default", name="web", labels={"node": "worker-1"}, annotations={"why": "no"})
    assert obj.metadata == wanted
    assert not obj.HasField("status")


def test_yaml_is_read_as_version_1_2_says() -> None:
    (document,) = parse_yaml(YAML, "f.yaml")
    service = unit_of(document.objects[0]).service
    assert (service.restart, service.umask) == (Service.NO, "0022")


def test_names_of_fields_may_be_those_of_json() -> None:
    text = '{"metadata": {"name": "a", "createTime": "x"}, "spec": {"@type": "rube/api.Node", "instanceId": "i"}}'
    (document,) = parse_json(text, "f")
    assert document.objects[0].metadata == Metadata(name="a")


def node(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "spec": {"@type": "rube/api.Node"}}


def test_lists_and_several_documents() -> None:
    many = yaml_text({"items": [node(f"n{number}") for number in range(250)]})
    assert [len(document.objects) for document in parse_yaml(many, "f")] == [100, 100, 50]
    several = yaml_text(node("a")) + "---\n---\n" + yaml_text(node("b"))
    assert [document.objects[0].metadata.name for document in parse_yaml(several, "f")] == ["a", "b"]
    assert [document.line for document in parse_yaml(several, "f")] == [1, 7]
    stream = json.dumps(node("a")) + "\n" + json.dumps([node("b"), node("c")])
    assert [len(document.objects) for document in parse_json(stream, "f")] == [1, 2]


def laughs() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    return "\n".join(lines)


BAD_YAML = {
    "unknown field": (
        YAML.replace("umask", "umsk"),
        'f:8:5: Message type "api.systemd.Service" has no field named "umsk" at "Object.spec.service"; did you mean',
    ),
    "unknown type": (YAML.replace("systemd.Unit", "systemd.Unti"), "f:5:3: "),
    "no spec": ("metadata: {name: a}", "f:1:1: the object has no spec"),
    "no such enum value": (
        YAML.replace("NO", "ON_FAIL"),
        "f:7:5: Invalid enum value ON_FAIL for enum type api.systemd.Service.Restart at Object.spec",
    ),
    "a bad name": (YAML.replace("web", "We_b"), "f:3:32: metadata.name 'We_b' is not a DNS label"),
    "a key twice": ("metadata: {name: a}\nmetadata: {name: b}", "f:2:1: the field 'metadata' is set twice, in YAML"),
    "no mapping": ("- 1", "f:1:3: items[0]: this is no object"),
    "empty": ("# nothing", "f:1: there is no object in it"),
    "not closed": ("metadata: {name: a", "f:2:1: did not find expected"),
    "a tag": ("a: !!python/object/apply:os.system [ls]", "f:1:"),
    "too deep": ("[" * 900, "f:1: it is nested deeper than 100"),
    "much too deep": ("[" * 100_000, "f:1:"),
    "too deep in blocks": (
        "".join(f"{' ' * level}a:\n" for level in range(200)),
        "f:101: it is nested deeper than 100",
    ),
    "aliases of aliases": (laughs(), "f:6: it has more than 1000000 nodes, aliases written out"),
    "an alias to itself": ("a: &a [*a, *a]", "f:1: it has more than 1000000 nodes"),
    "empty list": ("items: []", "f:1: a list has the field items alone, with one object or more"),
    "a number of 5,000 digits": ("metadata: {name: " + "9" * 5000 + "}", "f:1:18: this is no int that can be read"),
    "an int that is none": ("metadata: {name: !!int x}", "f:1:18: this is no int that can be read"),
    "an empty int": ("metadata: {name: !!int ''}", "f:1:18: this is no int that can be read"),
    "a float that is none": ("metadata: {name: !!float x}", "f:1:18: this is no float that can be read"),
    "a bool that is none": ("metadata: {name: !!bool x}", "f:1:18: this is no bool that can be read"),
    "a time that is none": ("metadata: {name: !!timestamp x}", "f:1:18: this is no timestamp that can be read"),
    "a day that is none": ("metadata: {name: !!timestamp 2026-99-99}", "f:1:18: this is no timestamp that can be read"),
    "a control character": ("a: \x07", "f:1"),
    "a number for text": ("metadata: {name: 7}\nspec: {'@type': rube/api.Node}", "f:1:12: metadata.name: takes text"),
    "a number in a map": (YAML.replace('"1"', "1"), "f:3:43: metadata.labels: takes text: write it in quotes"),
    "a number in a list": (YAML.replace("/bin/serve", "7"), "f:9:12: spec.service.exec.start: takes text"),
    "a number for a message": (YAML.replace("{start: [/bin/serve]}", "7"), "f:9:5: spec.service.exec: takes an object"),
    "invisible in a field": (
        YAML.replace("umask", "um\u200bask"),
        'f:8:5: Message type "api.systemd.Service" has no field named "um\u200bask" at "Object.spec.service"; '
        "did you mean 'umask'? "
        "(line 8, column 7 has U+200B ZERO WIDTH SPACE, which cannot be seen)",
    ),
    "a second byte-order mark": (
        f"{YAML}---\n\ufeffmetadata: {{name: b}}\nspec: {{}}",
        "f:12:1: did not find expected <document start>, in YAML "
        "(line 11, column 1 has U+FEFF ZERO WIDTH NO-BREAK SPACE, which cannot be seen)",
    ),
}


@pytest.mark.parametrize("case", BAD_YAML)
def test_bad_yaml_is_told_with_its_place(case: str) -> None:
    text, complaint = BAD_YAML[case]
    with pytest.raises(InvalidArgumentError) as raised:
        parse_yaml(text, "f")
    assert raised.value.message.startswith(complaint)
    assert "\n" not in raised.value.message


BAD_JSON = {
    "not closed": ('{"metadata": {', "f:1:15: "),
    "a key twice": ('{"metadata": {}, "metadata": {}}', "f:1: the field 'metadata' is set twice in one object"),
    "too deep": ("[" * 100_000, "f:1: it is nested deeper than 100"),
    "deep within": ('{"metadata": {}, "spec": ' + '{"a": ' * 150 + "1" + "}" * 151, "f:1: "),
    "a number of many digits": ("[" + "1" * 10_000 + "]", "f:1: no field takes a number of 10000 digits"),
    "a wrong type": (
        '{"metadata": {"name": [7]}, "spec": {"@type": "rube/api.Node"}}',
        "f:1:15: metadata.name: takes text",
    ),
    "a number for a message": (
        '{"metadata": 7, "spec": {"@type": "rube/api.Node"}}',
        "f:1:2: metadata: takes an object",
    ),
    "a number for a type": ('{"metadata": {"name": "a"}, "spec": {"@type": 7}}', "f:1:1: takes an object with fields"),
    "a number out of range": (
        '{"metadata": {"name": "a"}, "spec": {"@type": "rube/api.systemd.Unit", "service": {"nice": '
        + "9" * 390
        + "}}}",
        f"f:1:84: spec.service.nice: Value out of range: {'9' * 40}…",
    ),
    "invisible before it": (
        '\u200b{"metadata": {}}',
        "f:1:1: Expecting value, in JSON (line 1, column 1 has U+200B ZERO WIDTH SPACE, which cannot be seen)",
    ),
    "a list for a message": ('{"metadata": [], "spec": {"@type": "rube/api.Node"}}', "f:1:2: "),
    "two values": (json.dumps(node("a")) + "\n{", "f:2:2: "),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_bad_json_is_told_with_its_place(case: str) -> None:
    text, complaint = BAD_JSON[case]
    with pytest.raises(InvalidArgumentError) as raised:
        parse_json(text, "f")
    assert raised.value.message.startswith(complaint)
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("text", "filename", "found"),
    [
        ("", "a.yml", "yaml"),
        ("", "a.json", "json"),
        ("metadata:\n", "a.textproto", "textproto"),
        ('# c\nmetadata { name: "a" }', "-", "textproto"),
        ("metadata:\n  name: a", "-", "yaml"),
        ("--- \nx", "-", "yaml"),
        ("- metadata:", "-", "yaml"),
        ("items:\n", "-", "yaml"),
        ("\ufeff{", "-", "json"),
        ("[]", "-", "json"),
        ('[{ "metadata": {}}]', "-", "json"),
        ("{metadata: {name: a}}", "-", "yaml"),
        ("# c\n[\n  { metadata: {name: a}}]", "-", "yaml"),
        ('metadata: {name: a}\nspec: {"@type": rube/api.Node}', "-", "yaml"),
        ('metadata: {name: "a"}, spec: {[rube/api.Node]: {}}', "-", "textproto"),
        ("metadata: &a {name: a}", "-", "yaml"),
        ('"metadata": {name: a}', "-", "yaml"),
        ("\n\n", "-", "textproto"),
    ],
)
def test_the_format_is_told_by_name_and_content(text: str, filename: str, found: str) -> None:
    assert format_of(text, filename) == found
