"""Switches that plant a bug: an edit of one shipped function, made in the running process and undone afterwards.

The function keeps its identity: its code object alone is exchanged, so that every module that has imported it runs the
edited text. An edit names the text that it replaces, which must stand there exactly once: a bug whose function has
changed says so and has to be planted anew.
"""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import CodeType, FunctionType
from typing import Any


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement in the text of a function."""

    function: str
    """`package.module:Class.method` or `package.module:function`."""
    old: str
    new: str


@contextmanager
def planted(edits: Sequence[Edit]) -> Iterator[None]:
    """Runs the block with the edits made. Raises LookupError for an edit whose text is not there exactly once."""
    edits_of: dict[str, list[Edit]] = {}
    for edit in edits:
        edits_of.setdefault(edit.function, []).append(edit)
    changed = [(_function(path), _edited(_function(path), found)) for path, found in edits_of.items()]
    before = [(function, function.__code__) for function, _ in changed]
    try:
        for function, code in changed:
            function.__code__ = code
        yield
    finally:
        for function, code in before:
            function.__code__ = code


def _function(path: str) -> FunctionType:
    module, _, name = path.partition(":")
    *classes, last = name.split(".")
    found: Any = import_module(module)
    for part in classes:
        found = getattr(found, part)
    found = inspect.getattr_static(found, last)
    found = found.fget if isinstance(found, property) else found
    found = inspect.unwrap(getattr(found, "__func__", found))
    assert isinstance(found, FunctionType), f"{path} is no function"
    return found


def _edited(function: FunctionType, edits: Sequence[Edit]) -> CodeType:
    text, path = textwrap.dedent(inspect.getsource(function)), edits[0].function
    for edit in edits:
        if text.count(edit.old) != 1:
            raise LookupError(f"{path} has {edit.old!r} {text.count(edit.old)} times: plant the bug anew")
        text = text.replace(edit.old, edit.new)
    module = compile(text, f"<planted in {path}>", "exec", __future__.annotations.compiler_flag, dont_inherit=True)
    (code,) = [each for each in module.co_consts if isinstance(each, CodeType) and each.co_name == function.__name__]
    assert code.co_freevars == function.__code__.co_freevars, f"{path}: super() and closures are not edited"
    return code
