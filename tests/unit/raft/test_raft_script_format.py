"""The data-driven format: what is read, what is refused with its place, and what is written back."""

from __future__ import annotations

import pytest

from rube.raft.script import Argument, ScriptError, parse_line, parse_script

TEXT = """# A comment, \\
add-nodes 3 voters=(1,2, 3) \\
  index=2
----
ok

subtest one

propose-conf-change 1 transition=explicit
v1 l2

r3
----
----
with

a blank line
----
----

status 1
----
# the end
"""


def test_a_line_has_words_values_and_lists() -> None:
    command, arguments = parse_line(" cmd a b= c=1 d=(x, (y, z),) ")
    assert command == "cmd"
    assert arguments == (
        Argument("a"),
        Argument("b", ("",)),
        Argument("c", ("1",)),
        Argument("d", ("x", "(y, z)", "")),
    )


@pytest.mark.parametrize(("line", "place"), [("cmd a=(1, 2", "column 7"), ("cmd =1", "column 5")])
def test_a_line_that_is_not_understood_is_refused_with_its_column(line: str, place: str) -> None:
    with pytest.raises(ScriptError, match=place):
        parse_script(f"\n{line}\n----\n", "x.txt")
    with pytest.raises(ScriptError, match=r"x\.txt:2: "):
        parse_script(f"\n{line}\n----\n", "x.txt")


def test_directives_have_input_and_expected_output() -> None:
    # A comment ends with its line, whatever that ends in.
    add, subtest, change, status = parse_script(TEXT, "x.txt").directives
    assert (add.command, add.line, add.words(), add.expected) == ("add-nodes", 2, ["3"], "ok\n")
    assert list(add.options()) == [("voters", "1"), ("voters", "2"), ("voters", "3"), ("index", "2")]
    assert (subtest.command, subtest.words(), subtest.expected) == ("subtest", ["one"], None)
    assert (change.input, change.expected) == ("v1 l2\n\nr3", "with\n\na blank line\n")
    assert (status.line, status.expected) == (21, "# the end\n")


def test_rewriting_with_the_expected_output_changes_nothing() -> None:
    script = parse_script(TEXT, "x.txt")
    expected = [d.expected for d in script.directives if d.expected is not None]
    assert script.rewritten(expected) == TEXT + "\n"


def test_rewriting_replaces_the_output_and_nothing_else() -> None:
    script = parse_script("# c\na 1\ninput\n----\nold\n\n# d\nb\n----\n\n", "x.txt")
    assert (
        script.rewritten(["new", "x\n\ny"])
        == "# c\na 1\ninput\n----\nnew\n\n# d\nb\n----\n----\nx\n\ny\n----\n----\n\n"
    )


def test_an_open_block_of_output_is_refused() -> None:
    with pytest.raises(ScriptError, match=r"x\.txt:1: the closing ----"):
        parse_script("a\n----\n----\nout\n", "x.txt")
    with pytest.raises(ScriptError, match=r"x\.txt:6: a blank line must follow"):
        parse_script("a\n----\n----\n----\n----\nb\n", "x.txt")


def test_values_that_are_no_numbers_name_the_command() -> None:
    (directive,) = parse_script("\n\ncampaign one\n", "x.txt").directives
    with pytest.raises(ScriptError, match=r"x\.txt:3: campaign: 'one' is not a number"):
        directive.numbers()
