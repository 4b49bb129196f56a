"""Docstrings, comments and texts keep to the words of the house (CONTRIBUTING.md), so that one reading is enough."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_QUESTIONS = "Of|Who|Whom|Whose|What|That|Where|Which|Whoever|Whatever"
FIRST_WORDS = re.compile(rf"({_QUESTIONS}|Whether|Why|How|Also|And|As|But|By|For|From|Not|On|So|Until|When|Without)\b")
"""A docstring that begins so is a part of a sentence, or begins with its object."""
FIRST_WORDS_BELOW = re.compile(rf"({_QUESTIONS}|Whether|Look|Ask)\b")
"""The same for attributes and fields, of which "How long …" is a good beginning."""
IMPERATIVES = re.compile(
    r"(Add|Break|Call|Change|Check|Close|Compute|Create|Delete|Do|Drop|End|Get|Give|Keep|Let|Make|Move|Print|Put|Raise|"
    r"Read|Refuse|Remove|Report|Return|Run|Send|Serve|Set|Start|Stop|Take|Tell|Undo|Wait|Write|Yield)\b"
)
PHRASES = re.compile(
    r"\b(for ever|some time|nobody|somebody|someone|anybody|everybody|who leads no more|who is none|(is|are) none of|"
    r"(is|are|be) told(?! apart\b| to\b(?! who))|(to|for) who)\b",
    re.IGNORECASE,
)
"""A sentence with one of them names no subject, no bound, or a verb with several meanings."""
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _sources() -> list[Path]:
    """The files that hold prose and are written by hand, without this one, which quotes mistakes."""
    folders = [
        ROOT / name for name in ("bench", "docs", "examples", "packaging", "ructl", "rube", "scenarios", "tests")
    ]
    found = {path for folder in folders for path in folder.rglob("*.*")} | {*ROOT.glob("*.md")}
    generated = re.compile(r"_pb2|/include/|/_version\.py$")
    return sorted(
        path
        for path in found - {Path(__file__)}
        if path.suffix in (".py", ".proto", ".yaml", ".md", ".txt") and not generated.search(str(path))
    )


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


def strings_below(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The documentation of constants and attributes."""
    for scope in ast.walk(tree):
        if isinstance(scope, ast.Module | ast.ClassDef):
            for node, following in pairwise(scope.body):
                if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(following, ast.Expr):
                    yield from texts(following)


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """All strings of several words; one word, alone or quoted in them, is a name, such as that of a user."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def comment_blocks(text: str, mark: str) -> Iterator[tuple[int, str]]:
    """The comments that stand on lines of their own, those of neighbouring lines as one."""
    lines = [line.strip() for line in text.splitlines()]
    for number, line in enumerate(lines, 1):
        if line.startswith(mark) and (number == 1 or not lines[number - 2].startswith(mark)):
            rest = lines[number - 1 :]
            length = next((at for at, each in enumerate(rest) if not each.startswith(mark)), len(rest))
            yield number, " ".join(each.removeprefix(mark).strip() for each in rest[:length])


def prose(page: str) -> Iterator[tuple[int, str]]:
    """The paragraphs of a page of Markdown, without code."""
    without = re.sub(r"^( *)```.*?^\1```$", lambda block: "\n" * block.group().count("\n"), page, flags=re.M | re.S)
    without = re.sub(r"`[^`\n]*`", "``", without)
    for paragraph in re.finditer(r"\S.*?(?=\n\s*\n|\Z)", without, re.DOTALL):
        yield without.count("\n", 0, paragraph.start()) + 1, " ".join(paragraph.group().split())


def _unclear(found: Iterator[tuple[int, str]] | set[tuple[int, str]]) -> list[tuple[int, str]]:
    return [
        (line, f"say it with a noun and one verb: {phrase.group()!r}")
        for line, text in found
        if (phrase := PHRASES.search(re.sub(r'"\w+"', "", " ".join(text.split()))))
    ]


def _beginnings(found: Iterator[tuple[int, str]], *wrong: re.Pattern[str]) -> list[tuple[int, str]]:
    return [
        (line, f"begin with a noun, or a verb such as Returns: {text.splitlines()[0]}")
        for line, text in found
        if any(each.match(text) for each in wrong)
    ]


def mistakes(source: str, suffix: str) -> list[str]:
    """Returns the places in a file of that kind that need two readings, each with its line."""
    match suffix:
        case ".py":
            tree = ast.parse(source)
            found = _beginnings(docstrings(tree), FIRST_WORDS, IMPERATIVES)
            found += _beginnings(strings_below(tree), FIRST_WORDS_BELOW)
            found += _unclear({*texts(tree), *comments(source)})
        case ".md":
            found = _unclear(prose(source))
        case ".proto":
            found = _beginnings(comment_blocks(source, "//"), FIRST_WORDS_BELOW)
            found += _unclear(enumerate(source.splitlines(), 1))
        case _:
            found = _beginnings(comment_blocks(source, "#"), FIRST_WORDS_BELOW)
            found += _unclear(enumerate(source.splitlines(), 1))
    return [f"{line}: {what}" for line, what in sorted(found)]


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_read_once(path: Path) -> None:
    assert mistakes(path.read_text(), path.suffix) == []


@pytest.mark.parametrize(
    ("suffix", "source"),
    [
        (".py", '"""Who is asked."""'),
        (".py", 'class A:\n    """Of a leader: it leads."""'),
        (".py", 'def test_it():\n    """Also after a restart."""'),
        (".py", 'def f():\n    """Return it."""'),
        (".py", 'X = 1\n"""What it is."""'),
        (".py", "x = 1  # kept for ever"),
        (".py", 'raise ValueError("some time later")'),
        (".py", '"""The last attempt finds\nnobody."""'),
        (".proto", "message A {\n  // What it is.\n  int32 a = 1;\n}"),
        (".proto", "// The writer is told."),
        (".yaml", "description: somebody writes"),
        (".yaml", "# Of the members.\na: 1"),
        (".md", "# A title\n\nThe error goes to\nwho asks."),
        (".txt", "# Nobody leads."),
    ],
)
def test_mistakes_are_found(suffix: str, source: str) -> None:
    assert len(mistakes(source, suffix)) == 1


@pytest.mark.parametrize(
    ("suffix", "source"),
    [
        (".py", '"""The leader."""\n\n\ndef f():\n    """Returns what was asked for."""  # once\n'),
        (".py", 'user = "nobody"\n'),
        (".md", "Copies are told apart by `nobody`.\n\n```yaml\nuser: nobody\n```\n"),
        (".proto", "// The name of a member.\nmessage A {}"),
    ],
)
def test_plain_words_are_let_through(suffix: str, source: str) -> None:
    assert mistakes(source, suffix) == []
