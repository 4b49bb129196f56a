"""Lines of logs: from bytes, bounded, whole in the end."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from rube.api import LogLine
from rube.controllers.driver import READ_BYTES_MAX
from rube.units.drivers.log_lines import TAIL_BYTES_MAX, LineReader, responses, tail_of


def joined(lines: list[LogLine]) -> str:
    """The text that a terminal shows."""
    return "".join(line.text + ("" if line.partial else "\n") for line in lines)


@given(st.text(max_size=300), st.lists(st.integers(0, 1200), max_size=6), st.booleans())
def test_however_bytes_come_in_pieces_the_text_is_the_same(text: str, cuts: list[int], newline: bool) -> None:
    text = text.replace("\r", "") + ("\n" if newline else "")
    data = text.encode(errors="replace")
    text = data.decode()
    reader = LineReader()
    places = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    lines = [line for start, end in pairwise(places) for line in reader.feed(data[start:end])]
    assert joined(lines) == text


def test_a_last_line_without_a_newline_is_partial_until_the_end_is_known() -> None:
    assert [line.partial for line in LineReader().feed(b"one\ntwo")] == [False, True]
    assert [line.partial for line in LineReader().feed(b"one\ntwo", final=True)] == [False, False]


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    (line,) = LineReader().feed(b"a\xff\xfeb\n")
    assert line.text == "a\ufffd\ufffdb"


@settings(max_examples=50)
@given(st.lists(st.integers(0, 200_000), max_size=20))
def test_responses_are_bounded_and_lose_nothing(sizes: list[int]) -> None:
    lines = [LogLine(text="ä" * (size // 2)) for size in sizes]
    sent = list(responses(lines))
    assert all(response.ByteSize() <= READ_BYTES_MAX + 4096 for response in sent)
    assert joined([line for response in sent for line in response.lines]) == joined(lines)


def test_a_tail_is_bounded_in_lines_and_bytes() -> None:
    assert tail_of([str(number) for number in range(100)]) == [str(number) for number in range(90, 100)]
    assert tail_of([]) == []
    assert tail_of(["x" * 10_000]) == ["x" * TAIL_BYTES_MAX]
    assert tail_of(["long" * 1000, "short"]) == ["short"]
    assert sum(len(line.encode()) for line in tail_of(["ä" * 500] * 10)) <= TAIL_BYTES_MAX
