from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.any_pb2 import Any
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import assume, given
from hypothesis import strategies as st

from rube.api import Key, List, Metadata, Object, Selector, Service, Unit, textproto
from rube.api.errors import InvalidArgumentError
from rube.api.textproto.invisible import find_invisible
from rube.api.types import BUILTIN, pack

SEED = (Path(__file__).parents[3] / "examples" / "02-many-fields" / "indexer.textproto").read_text()

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_UNITS = st.builds(
    Unit,
    description=_TEXT,
    wants=st.lists(_TEXT, max_size=2),
    enabled=st.booleans(),
    state=st.sampled_from([0, 1, 2, 77]),
    service=st.builds(
        Service,
        environment=st.dictionaries(_TEXT, _TEXT, max_size=4),
        nice=st.integers(-(2**31), 2**31 - 1),
        type=st.sampled_from(Service.Type.values()),
        time=st.builds(Service.Time, restart=st.floats(allow_nan=False), limit=st.just(60)),
        status=st.builds(Service.ExitStatus, success=st.lists(st.integers(-5, 5), max_size=4)),
        limits=st.builds(Service.Limits, tasks=st.integers(0, 2**64 - 1)),
    ),
)
_OBJECTS = st.builds(
    lambda labels, unit: Object(metadata=Metadata(labels=labels), spec=pack(unit)),
    st.dictionaries(_TEXT, _TEXT, max_size=4),
    _UNITS,
)


@given(_OBJECTS)
def test_what_is_printed_parses_back(obj: Object) -> None:
    assert textproto.parse(textproto.format(obj), Object, filename="x") == obj


@given(_OBJECTS)
def test_the_librarys_parser_reads_what_is_printed(obj: Object) -> None:
    theirs = text_format.Parse(textproto.format(obj), Object())
    assert BUILTIN.unpack(theirs.spec) == BUILTIN.unpack(obj.spec)
    assert theirs.metadata == obj.metadata


@given(_OBJECTS, st.booleans())
def test_what_the_library_prints_is_read(obj: Object, one_line: bool) -> None:
    text = text_format.MessageToString(obj, as_utf8=one_line, as_one_line=one_line)
    assume(not any(map(find_invisible, text.split("\n"))))  # the library prints them as they are, and we refuse them
    assert textproto.parse(text, Object, filename="x") == obj


def test_the_seeds_example_means_what_it_says() -> None:
    (document,) = textproto.parse_documents(SEED, "indexer.textproto")
    (obj,) = document.objects
    unit = BUILTIN.unpack(obj.spec)
    assert isinstance(unit, Unit)
    assert (obj.metadata.namespace, obj.metadata.name) == ("system", "indexer")
    assert unit.service.exec.start == ['echo "Hey You!"']
    assert list(unit.service.status.success) == [0, 1, 2]
    assert unit.service.time.limit == 3600


def test_printing_reads_as_a_person_would_write_it() -> None:
    unit = Unit(description="Don't – ü")
    unit.service.time.restart = 60
    unit.service.time.timeout = 0.5
    unit.service.status.success.extend([0, 1])
    unit.service.environment["b"] = "2"
    unit.service.environment["a"] = "1"
    unit.install.SetInParent()
    assert textproto.format(pack(unit)) == (
        "[rube/api.systemd.Unit] {\n"
        '  description: "Don\'t – ü"\n'
        "  service {\n"
        "    time {\n      restart: 60\n      timeout: 0.5\n    }\n"
        "    status {\n      success: [0, 1]\n    }\n"
        '    environment {\n      key: "a"\n      value: "1"\n    }\n'
        '    environment {\n      key: "b"\n      value: "2"\n    }\n'
        "  }\n"
        "  install {}\n"
        "}\n"
    )


def test_an_any_of_an_unknown_type_is_printed_as_its_bytes() -> None:
    packed = Any(type_url="rube/api.Later", value=b"\x01\xff")
    text = textproto.format(packed)
    assert text == 'type_url: "rube/api.Later"\nvalue: "\\001\\377"\n'
    assert textproto.parse(text, Any, filename="x") == packed


def test_fields_of_a_newer_build_are_shown_as_a_comment() -> None:
    newer = Key.FromString(Key(name="x").SerializeToString() + b"\xfa\x3f\x03new")
    assert textproto.format(newer) == 'name: "x"\n# and fields that this build does not know: 1023\n'


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("api.systemd.Unit]", "api.systemd.Unitt]", r"10:4: unknown type 'api.systemd.Unitt'; did you mean"),
        ("[rube/api", "[api", "10:4: the type 'api.systemd.Unit' lacks its prefix"),
        ("Unit] {", "Unit {", r"10:26: expected '\]' after the type, found '{'"),
        (
            "restart: 60",
            "restrat: 60",
            r"22:9: api.systemd.Service.Time has no field 'restrat'; did you mean 'restart'",
        ),
        ("restart: 60", 'restart: "60"', "22:18: restart takes a number, found"),
        ("restart: 60", "restart: 1_0x", "22:18: restart takes a number"),
        ("FORKING", "FORKIN", r"16:13: type takes one of TYPE_UNSPECIFIED, SIMPLE, .*did you mean 'FORKING'"),
        ("FORKING", "99999999999", "16:13: type takes one of"),
        ("enabled: false", "enabled: false enabled: true", "34:20: the message has enabled twice"),
        ("enabled: false", "enabled = false", "34:13: expected ':' after the field enabled, found '='"),
        ("enabled: false", "enabled: 3", "34:14: enabled takes true or false, found '3'"),
        ("enabled: false", "enabled:", "35:3: enabled takes true or false, found '}'"),
        ("[66]", "[66", r"31:7: expected '\]' or ',' in the list"),
        ("[66]", "[99999999999]", "whole number from -2147483648 to 2147483647"),
        ('"file://"', "5", "12:14: doc_url takes a string in quotes"),
        ('"file://"', '"file://', '12:14: the string .* has no closing "'),
        ('"file://"', '"a\\qb"', r"12:16: '\\q' is not an escape"),
        ('"file://"', '"\\xff"', "12:14: doc_url is not UTF-8"),
        ('name: "indexer"', 'name: "Index er"', r"6:9: metadata.name 'Index er' is not a DNS label"),
        ('name: "indexer"', "", "4:10: object of type api.systemd.Unit has no metadata.name"),
        ('namespace: "system"', "", "4:10: api.systemd.Unit 'indexer' has no metadata.namespace"),
        ("Object", "Objects", r"2:18: unknown proto-message 'Objects'; did you mean 'Object'\?"),
        ("rube/api.proto", "rube/apis.proto", "1:15: unknown proto-file 'rube/apis.proto'"),
        ("metadata {", 'metadata { labels {key: "a"} labels {key: "a"}', "4:37: labels has the key 'a' twice"),
        ("metadata {", "metadata { {", "4:12: expected a field's name, found '{'"),
        ("spec {", "spec { [rube/api.Node] {}", "10:3: a second value for the same field"),
    ],
)
def test_errors_say_where_and_what_to_do(old: str, new: str, complaint: str) -> None:
    assert old in SEED
    with pytest.raises(
        InvalidArgumentError, match=f"^f.textproto:{complaint}" if complaint[0].isdigit() else complaint
    ):
        textproto.parse_documents(SEED.replace(old, new, 1), "f.textproto")


def test_an_unclosed_brace_is_reported_where_it_opens() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^f:9:6: the '\{' that opens spec is never closed"):
        textproto.parse_documents(SEED.rstrip().removesuffix("}"), "f")


def test_a_brace_too_many_is_reported() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^f:37:1: expected a field's name, found '}'"):
        textproto.parse_documents(SEED + "}", "f")


def test_nesting_is_bounded() -> None:
    text = "spec { [rube/api.Object] { " * 200
    with pytest.raises(InvalidArgumentError, match="nested deeper than 100 levels"):
        textproto.parse(text, Object, filename="f")


def test_an_object_whose_spec_is_no_resource_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^f:1:6: 'api.systemd.Install' is not a type of object"):
        textproto.parse_documents("spec { [rube/api.systemd.Install] {} }", "f")


def test_a_file_without_objects_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^f:1:1: there is no object in it"):
        textproto.parse_documents("# proto-message: Object\n\n", "f")


def test_a_list_is_one_document() -> None:
    item = 'items { metadata { name: "%s" } spec { [rube/api.Node] {} } }\n'
    (document,) = textproto.parse_documents("# proto-message: List\n" + item % "a" + item % "b", "f")
    assert [obj.metadata.name for obj in document.objects] == ["a", "b"]


def test_a_list_without_its_header_is_answered_with_it() -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"^f:1:1: .*no field 'items'.*write '# proto-message: List' above it"
    ):
        textproto.parse_documents("items { }", "f")


def test_an_error_in_a_list_names_the_item() -> None:
    item = 'items { metadata { name: "%s" } spec { [rube/api.Node] {} } }\n'
    with pytest.raises(InvalidArgumentError, match=r"^f:3:26: metadata.name 'B' is not a DNS label"):
        textproto.parse_documents("# proto-message: List\n" + item % "a" + item % "B", "f")


def test_a_long_line_is_read_in_linear_time() -> None:
    item = 'items { metadata { name: "a" } spec { [rube/api.Node] {} } } '
    group = textproto.parse(item * 4000, List, filename="f")
    assert len(group.items) == 4000


def test_documents_under_their_own_headers_follow_each_other() -> None:
    node = '# proto-message: Object\nmetadata { name: "%s" } spec { [rube/api.Node] {} }\n'
    first, second = textproto.parse_documents(node % "a" + node % "b", "f")
    assert (first.objects[0].metadata.name, second.objects[0].metadata.name) == ("a", "b")
    assert (first.line, second.line) == (1, 3)


def test_a_line_in_a_later_document_is_counted_from_the_start_of_the_file() -> None:
    node = '# proto-message: Object\nmetadata { name: "%s" } spec { [rube/api.Node] {} }\n'
    with pytest.raises(InvalidArgumentError, match=r"^f:4:18: metadata.name"):
        textproto.parse_documents(node % "a" + node % "B", "f")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('labels: [ { key: "node" value: "w1" } ]', Metadata(labels={"node": "w1"})),
        ('labels < key: "a", value: "b" >; name: "x",', Metadata(labels={"a": "b"}, name="x")),
        ('name: "a" \'b\' # c\n "d"', Metadata(name="abd")),
        ("finalizers: [] finalizers: 'a' finalizers: ['b', 'c']", Metadata(finalizers=["a", "b", "c"])),
        (r'name: "\x41\101\u00e9\U0001F600\n\\?"', Metadata(name="AA\u00e9\U0001f600\n\\?")),
        ("revision: 0x10 generation: 010", Metadata(revision=16, generation=8)),
        ("create_time: { seconds: -1 }", Metadata(create_time=Timestamp(seconds=-1))),
        ("name:'x'\r\n", Metadata(name="x")),
    ],
)
def test_what_the_language_allows(text: str, wanted: Metadata) -> None:
    assert textproto.parse(text, Metadata, filename="f") == wanted
    assert text_format.Parse(text, Metadata()) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "finalizers: ['a',]",
        "finalizers: [,]",
        "name: x",
        "revision: -1",
        "revision: 1.5",
        "labels { key: 1 }",
        "name 'x'",
        "[rube/api.Key] {}",
        "name: ['x']",
        "create_time: 1",
        "5: 'x'",
        "name: 'x' }",
        "owner_references",
    ],
)
def test_what_the_language_does_not_allow(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^f:1:"):
        textproto.parse(text, Metadata, filename="f")
    with pytest.raises(text_format.ParseError):
        text_format.Parse(text, Metadata())


def test_the_two_escapes_that_python_lacks() -> None:
    wanted = Metadata(name="?A\\?1")
    assert textproto.parse(r'name: "\?\X41\\?1"', Metadata, filename="f") == wanted


def test_the_seeds_selector_is_read() -> None:
    selector = textproto.parse_selector('type = "api.systemd.Unit", metadata { namespace: "system", name: "indexer" }')
    assert (selector.type, selector.metadata.namespace, selector.metadata.name) == (
        "api.systemd.Unit",
        "system",
        "indexer",
    )


@given(_TEXT, st.sampled_from([":", "=", " = ", " : "]), st.sampled_from(["{", "= {", ": {"]), st.sampled_from(",; "))
def test_an_equals_sign_is_a_token_and_never_part_of_a_string(text: str, assign: str, opening: str, end: str) -> None:
    wanted = Selector(type=text, metadata=Metadata(name=text, labels={text: text}))
    quoted = textproto.format(Key(type=text)).removeprefix("type: ").strip() if text else '""'
    written = (
        f"type{assign}{quoted}{end} # type = 'no'\n"
        f"metadata {opening} name{assign}{quoted}{end} "
        f"labels {opening} key{assign}{quoted}{end} value{assign}{quoted}}}}}"
    )
    assert textproto.parse_selector(written) == wanted


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('typ = "x"', "selector:1:1: api.Selector has no field 'typ'; did you mean 'type'"),
        ('type = = "x"', "selector:1:8: type takes a string"),
        ('type := "x"', "selector:1:7: type takes a string"),
        ("type = x", "selector:1:8: type takes a string in quotes"),
        ('type = "x', "selector:1:8: the string"),
        ("metadata { = }", "selector:1:12: expected a field's name"),
    ],
)
def test_errors_in_selectors(text: str, complaint: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{complaint}"):
        textproto.parse_selector(text)


@given(st.text(alphabet="{}[]<>:=,;\"'\\#\n /.-+0xaspecmetadatanamerube", max_size=80))
def test_no_text_ends_in_anything_but_a_message_or_a_placed_error(text: str) -> None:
    try:
        textproto.parse(text, Object, filename="f")
    except InvalidArgumentError as error:
        assert error.message.startswith("f:")  # noqa: PT017 (a message is a fine end too)


@given(st.text(alphabet="\\xXuU?0178aD8fn \"'é😀\t", max_size=20))
def test_a_string_is_read_as_a_whole_or_refused_with_its_place(text: str) -> None:
    try:
        textproto.parse(f'name: "{text}"', Metadata, filename="f")
    except InvalidArgumentError as error:
        assert error.message.startswith("f:1:")  # noqa: PT017 (a message is a fine end too)
