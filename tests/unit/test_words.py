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
FIRST_WORDS = re.compile(r"(Of|Who|Whom|Whose|What|That|Where|Whether|Why|How|Which|Whoever|Whatever)\b")
FIRST_WORDS_BELOW = re.compile(r"(Of|Who|Whom|Whose|What|That|Where|Which|Whoever|Whatever|Look|Ask)\b")
PHRASES = re.compile(
    r"\b(for ever|some time|is told so|are told so|nobody knows|who leads no more|is none of|are none of|who is none)\b"
)
IMPERATIVES = re.compile(
    r"(Add|Break|Call|Change|Check|Close|Compute|Create|Delete|Do|Drop|End|Get|Give|Keep|Let|Make|Move|Print|Put|Raise|"
    r"Read|Refuse|Remove|Report|Return|Run|Send|Serve|Set|Start|Stop|Take|Tell|Undo|Wait|Write|Yield)\b"
)
SOURCES = sorted(
    path
    for package in ("rube", "ructl")
    for path in (ROOT / package).rglob("*.py")
    if "_pb2" not in path.name and path.name != "_version.py"
)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


def strings_below(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The documentation of constants and attributes, of which "Whether …" and "How long …" are good beginnings."""
    for scope in ast.walk(tree):
        if isinstance(scope, ast.Module | ast.ClassDef):
            for node, following in pairwise(scope.body):
                if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(following, ast.Expr):
                    yield from texts(following)


def comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def mistakes(source: str) -> list[str]:
    tree = ast.parse(source)
    found = [
        (line, f"begin with a noun, or a verb such as Returns: {text.splitlines()[0]}")
        for line, text in docstrings(tree)
        if FIRST_WORDS.match(text) or IMPERATIVES.match(text)
    ]
    found += [
        (line, f"begin with a noun: {text.splitlines()[0]}")
        for line, text in strings_below(tree)
        if FIRST_WORDS_BELOW.match(text)
    ]
    found += [
        (line, f"say it with a noun and one verb: {phrase.group()!r}")
        for line, text in {*texts(tree), *comments(source)}
        if (phrase := PHRASES.search(text))
    ]
    return [f"{line}: {what}" for line, what in sorted(found)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_read_once(path: Path) -> None:
    assert not mistakes(path.read_text())


@pytest.mark.parametrize(
    "source",
    [
        '"""Who is told."""',
        'class A:\n    """Of a leader: it leads."""',
        'def f():\n    """Return it."""',
        'X = 1\n"""What it is."""',
        "x = 1  # kept for ever",
        'raise ValueError("some time later")',
    ],
)
def test_mistakes_are_found(source: str) -> None:
    assert len(mistakes(source)) == 1


def test_plain_words_are_let_through() -> None:
    assert not mistakes('"""The leader."""\n\n\ndef f():\n    """Returns what was asked for."""  # once\n')
