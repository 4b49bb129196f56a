"""One dialect (CONTRIBUTING.md): documentation of public constants stands below them, `__all__` in packages."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("rube", "ructl", "tests", "bench", "docs", "examples")
SOURCES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if "_pb2" not in path.name and path.name != "_version.py"
)
PRAGMAS = re.compile(r"#\s*(type:|noqa|pragma|fmt:)")


@dataclass(frozen=True, slots=True)
class Comments:
    """The comments of a file by their lines: whole lines, and ends of lines of code."""

    whole: frozenset[int]
    trailing: frozenset[int]

    @classmethod
    def of(cls, source: str) -> Comments:
        whole: set[int] = set()
        trailing: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT and not PRAGMAS.match(token.string):
                (whole if token.line.lstrip().startswith("#") else trailing).add(token.start[0])
        return cls(frozenset(whole), frozenset(trailing))


def name_of(node: ast.stmt | None) -> str:
    """Returns the name of a constant or an attribute; empty if the statement makes none."""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return ""


def mistakes(source: str, *, is_package: bool = False) -> list[str]:
    tree, comments = ast.parse(source), Comments.of(source)
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef)]
    found = [mistake for scope in scopes for mistake in scope_mistakes(scope.body, comments)]
    if not is_package:
        found += [
            (node.lineno, "import a name from the module that defines it: __all__ is for packages' __init__.py")
            for node in tree.body
            if name_of(node) == "__all__"
        ]
    return [f"{line}: {what}" for line, what in sorted(found)]


def scope_mistakes(body: list[ast.stmt], comments: Comments) -> Iterator[tuple[int, str]]:
    for at, node in enumerate(body):
        name, following = name_of(node), body[at + 1 : at + 3]
        if name.startswith("_"):
            if is_string(following[:1]):
                yield node.lineno, f"{name} is private: write a comment above it"
        elif name and is_commented(node, following, comments):
            yield node.lineno, f"{name} is public: write a string below it, which the reference shows"


def is_string(statements: list[ast.stmt]) -> bool:
    return any(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for node in statements
    )


def is_commented(node: ast.stmt, following: list[ast.stmt], comments: Comments) -> bool:
    """Returns whether a comment is about this constant alone: the one above a group is about all of it."""
    end = node.end_lineno or node.lineno
    heads_a_group = following and name_of(following[0]) and following[0].lineno == end + 1 and not is_string(following)
    return end in comments.trailing or (node.lineno - 1 in comments.whole and not heads_a_group)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_keeps_to_the_dialect(path: Path) -> None:
    assert not mistakes(path.read_text(), is_package=path.name == "__init__.py")


@pytest.mark.parametrize(
    "source",
    [
        "# The pause.\nPAUSE_S = 1\n",
        "PAUSE_S = 1  # the pause\n",
        'class Config:\n    """It."""\n\n    # The pause.\n    pause_s: float = 1\n',
        'class State(Enum):\n    UP = "up"  # it runs\n',
        '_PAUSE_S = 1\n"""The pause."""\n',
        "# The first one.\nA = 1\n# The second one.\nB = 2\nC = 3\n",
        '# The first one.\nA = 1\nB = 2\n"""The second one."""\n',
        '__all__ = ["f"]\n',
    ],
)
def test_the_other_form_is_found(source: str) -> None:
    assert len(mistakes(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        'PAUSE_S = 1\n"""The pause."""\n',
        "# The pause.\n_PAUSE_S = 1\n",
        "# The pauses.\nPAUSE_S_MIN = 1\nPAUSE_S_MAX = 2\n",
        "# Other constants\n\nPAUSE_S = 1\n",
        "import x  # noqa: TID251\n\nA = x.a  # type: ignore[attr-defined]\n",
        "def f():\n    # The pause.\n    pause_s = 1\n",
    ],
)
def test_the_dialect_is_let_through(source: str) -> None:
    assert not mistakes(source)


def test_a_package_lists_its_names() -> None:
    assert not mistakes('__all__ = ["f"]\n', is_package=True)
