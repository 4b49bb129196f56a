"""Invisible characters, escapes, and what a text of any kind costs to read."""

from __future__ import annotations

import gc
import tracemalloc
import unicodedata

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from rube.api import Key, Object, textproto
from rube.api.errors import InvalidArgumentError
from rube.api.textproto import documents
from rube.api.textproto.escapes import EscapeError, unescape
from rube.api.textproto.invisible import INVISIBLE_ESCAPES, find_invisible
from rube.api.textproto.reader import NESTING_LEVELS_MAX

INVISIBLE = {
    "\ufeff": "U+FEFF ZERO WIDTH NO-BREAK SPACE",
    "\u200b": "U+200B ZERO WIDTH SPACE",
    "\u200d": "U+200D ZERO WIDTH JOINER",
    "\u2060": "U+2060 WORD JOINER",
    "\u00ad": "U+00AD SOFT HYPHEN",
    "\u202e": "U+202E RIGHT-TO-LEFT OVERRIDE",
    "\u2066": "U+2066 LEFT-TO-RIGHT ISOLATE",
    "\u200f": "U+200F RIGHT-TO-LEFT MARK",
    "\u2028": "U+2028 LINE SEPARATOR",
    "\u3164": "U+3164 HANGUL FILLER",
    "\U000e0041": "U+E0041 TAG LATIN CAPITAL LETTER A",
}
WHERE = {
    "between tokens": 'metadata {{ name: {0}"a" }}',
    "in a name": 'metadata {{ na{0}me: "a" }}',
    "in a string": 'metadata {{ name: "a{0}" }}',
    "in a comment": 'metadata {{ name: "a" }} # {0}',
    "at the start of a line": "{0}metadata {{ }}",
    "in a type": "spec {{ [rube/api.systemd.Unit{0}] {{ }} }}",
}


def refused(text: str) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as raised:
        textproto.parse(text, Object, filename="f")
    return raised.value


@pytest.mark.parametrize("character", INVISIBLE, ids=INVISIBLE.values())
@pytest.mark.parametrize("where", WHERE)
def test_an_invisible_character_is_named_with_its_place(where: str, character: str) -> None:
    before = "# one line\n# and another\n"
    line = WHERE[where].format(character)
    error = refused(before + line)
    column = line.index(character) + 1
    assert error.message == (
        f"f:3:{column}: here is {INVISIBLE[character]}, which cannot be seen; remove it, or write "
        f"{INVISIBLE_ESCAPES[ord(character)]} in a string that needs it"
    )
    assert (error.metadata["line"], error.metadata["column"]) == ("3", str(column))


def test_a_byte_order_mark_at_the_start_is_taken_and_one_in_the_middle_is_not() -> None:
    """A mark stands there after `cat one.textproto two.textproto`."""
    one = '\ufeff# proto-message: Object\nmetadata { name: "a" namespace: "n" } spec { [rube/api.systemd.Unit] {} }\n'
    assert len(textproto.parse_documents(one, "f")) == 1
    with pytest.raises(InvalidArgumentError, match=r"f:3:1: here is U\+FEFF"):
        textproto.parse_documents(one + one, "f")


@pytest.mark.parametrize("text", ["می\u200cخواهم", "👩\u200d💻 service", "क्\u200dष", "naïve – “ok” 日本語", "1️⃣"])
def test_joiners_have_their_place_in_scripts_and_emoji(text: str) -> None:
    parsed = textproto.parse(f'metadata {{ annotations {{ key: "{text}" value: "x" }} }}', Object, filename="f")
    assert dict(parsed.metadata.annotations) == {text: "x"}


@given(st.text(st.characters(codec="utf-8")))
def test_what_is_printed_shows_every_character_and_is_read_back(text: str) -> None:
    message = Key(type=text)
    printed = textproto.format(message)
    assert find_invisible(printed) is None
    assert textproto.parse(printed, Key, filename="f") == message


@pytest.mark.parametrize("character", INVISIBLE)
def test_a_string_that_needs_one_is_written_with_its_escape(character: str) -> None:
    parsed = textproto.parse(f'type: "a{INVISIBLE_ESCAPES[ord(character)]}b"', Key, filename="f")
    assert parsed.type == f"a{character}b"


def test_every_format_character_that_is_not_seen_is_known() -> None:
    """Signs that stand before a number are seen."""
    seen = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
    format_characters = {code for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cf", "Zl", "Zp")}
    assert format_characters - seen <= INVISIBLE_ESCAPES.keys()


def test_a_character_outside_of_strings_that_no_token_has_is_named() -> None:
    for character, name in (("\x00", "U+0000"), ("\x1b", "U+001B"), ("“", "U+201C LEFT DOUBLE QUOTATION MARK")):
        assert f"f:1:1: expected a field's name, found {name}" in refused(f"{character} {{ }}").message


# Escapes


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"plain é", "plain é".encode()),
        (r"\a\b\f\n\r\t\v\?\\\'\"", b"\a\b\f\n\r\t\v?\\'\""),
        (r"\0\1\12\123\1234\377", b"\0\x01\x0a\x53\x534\xff"),
        (r"\x4\x41\x414\Xff", b"\x04\x41\x414\xff"),
        (r"\u00e9\U0001f600", "é😀".encode()),
        (r"\ud83d\ude00", "😀".encode()),
        (r"\200b", b"\x80b"),
    ],
)
def test_escapes_mean_what_the_language_says(text: str, value: bytes) -> None:
    assert unescape(text) == value


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (r"ab\q", 2),
        (r"ab\400", 2),
        (r"a\xg", 1),
        (r"a\u12", 1),
        (r"\U0011ffff", 0),
        (r"\ud83dx", 6),
        (r"\ud83d", 6),
        (r"\ud83d\n", 6),
        (r"\ude00", 0),
    ],
)
def test_what_is_no_escape_is_told_with_its_place(text: str, place: int) -> None:
    with pytest.raises(EscapeError) as raised:
        unescape(text)
    assert raised.value.place == place


@given(st.binary(), st.booleans())
def test_what_the_library_escapes_is_unescaped(data: bytes, utf8: bool) -> None:
    printed = text_format.MessageToString(Object(spec={"value": data}), as_utf8=utf8)  # type: ignore[arg-type]
    assert textproto.parse(printed, Object, filename="f").spec.value == data


# What it costs


SIZE = 200_000
COSTLY = {
    "plain": 'metadata { uid: "%s" }' % ("x" * SIZE),
    "octal": 'spec { value: "%s" }' % ("\\377" * (SIZE // 4)),
    "hex": 'spec { value: "%s" }' % ("\\x41" * (SIZE // 4)),
    "newlines": 'spec { value: "%s" }' % ("\\n" * (SIZE // 2)),
    "quotes": 'spec { value: "%s" }' % ('\\"' * (SIZE // 2)),
    "unicode": 'metadata { uid: "%s" }' % ("\\u00e9" * (SIZE // 6)),
    "open escapes": 'spec { value: "%s' % ("\\n" * (SIZE // 2)),
    "adjacent": "spec { value: %s }" % ('"a" ' * (SIZE // 4)),
    "list": "metadata { finalizers: [" + '"a",' * (SIZE // 4) + '"a"] }',
    "spaces": " " * SIZE + "metadata { }",
    "lines": "\n" * SIZE,
    "comments": "# x\n" * (SIZE // 4),
    "brackets": "{" * SIZE,
    "open": "metadata {" * (SIZE // 10),
    "one word": "x" * SIZE,
    "digits": "1" * SIZE,
    "type": "spec { [" + "a/" * (SIZE // 2),
}
BYTES_PER_BYTE_MAX = 25


@pytest.mark.parametrize("kind", COSTLY)
def test_no_text_takes_many_times_its_size(kind: str) -> None:
    text = COSTLY[kind]
    lines_bytes = 60 * text.count("\n")  # a line is an object of its own
    gc.collect()
    tracemalloc.start()
    complaint = ""
    try:
        textproto.parse(text, Object, filename="f")
    except InvalidArgumentError as error:
        complaint = error.message
    finally:
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(complaint) < 1000
    assert peak_bytes < BYTES_PER_BYTE_MAX * SIZE + lines_bytes


def test_many_documents_are_read_in_time_that_grows_with_their_number() -> None:
    """Each was read with as many empty lines before it as stand before it in the file."""
    one = '# proto-message: Object\nmetadata { namespace: "n" name: "a" } spec { [rube/api.systemd.Unit] {} }\n'
    read = documents.read
    lines_read = 0

    def counting(lines: list[str], *arguments: object, **options: object) -> object:
        nonlocal lines_read
        lines_read += len(lines)
        return read(lines, *arguments, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "read", counting)
        found = textproto.parse_documents(one * 500, "f")
    assert [document.line for document in found] == list(range(1, 1001, 2))
    assert lines_read <= 1002


def test_a_place_in_a_later_document_is_the_files() -> None:
    good = '# proto-message: Object\nmetadata { namespace: "n" name: "a" } spec { [rube/api.systemd.Unit] {} }\n'
    for bad, place in (("metadata { nam: 1 }\n", "f:4:12"), ("metadata { }\n", "f:3:1"), ("{\n", "f:4:1")):
        with pytest.raises(InvalidArgumentError, match=f"^{place}: "):
            textproto.parse_documents(good + "# proto-message: Object\n" + bad, "f")


def test_a_text_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "TEXT_CHARS_MAX", 100)
    with pytest.raises(InvalidArgumentError, match="f:1:1: the text has 101 characters, more than 100"):
        textproto.parse_documents("#" * 101, "f")


def test_nesting_has_a_bound() -> None:
    inside = ""
    for _ in range(NESTING_LEVELS_MAX + 1):
        inside = f"spec {{ [rube/api.Object] {{ {inside} }} }}"
    assert f"nested deeper than {NESTING_LEVELS_MAX} levels" in refused(inside).message
