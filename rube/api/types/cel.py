"""CEL, the language of rules (https://cel.dev): its syntax tree. The engine of rules evaluates; this only reads.

The engine finds missing fields and measures costs when a rule runs. A tree finds them when a type is pushed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

DEPTH_MAX: Final = 32
"""Brackets in brackets, and operators in a row without one. The engine takes no more either."""
MACROS: Final = frozenset(["all", "exists", "exists_one", "filter", "map"])
"""Functions whose first argument is a variable that takes each item in turn."""

_STRINGS: Final = r'"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\''
_TOKEN: Final = re.compile(
    rf"""(?P<blank>\s+|//[^\n]*)
    |(?P<text>[bB]?[rR][bB]?(?:{_STRINGS}|"[^"\n]*"|'[^'\n]*')
             |[bB]?(?:\"\"\"(?:\\[\s\S]|[^\\])*?\"\"\"|'''(?:\\[\s\S]|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:[0-9]*\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*|`[^`\n]*`)
    |(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%!?:.,()\[\]{{}}<>])
    |(?P<bad>.)""",
    re.VERBOSE,
)
# Operators of two operands, the loosest first; each row binds from the left.
_ROWS: Final = (
    frozenset(["||"]),
    frozenset(["&&"]),
    frozenset(["<", "<=", ">", ">=", "==", "!=", "in"]),
    frozenset(["+", "-"]),
    frozenset(["*", "/", "%"]),
)
_LITERALS: Final = frozenset(["true", "false", "null"])


class CelError(ValueError):
    """An expression that is none."""


class Value(NamedTuple):
    """A literal, as it is written."""

    text: str

    def children(self) -> tuple[Node, ...]:
        return ()


class Name(NamedTuple):
    name: str

    def children(self) -> tuple[Node, ...]:
        return ()


class Select(NamedTuple):
    """`operand.field`."""

    operand: Node
    field: str

    def children(self) -> tuple[Node, ...]:
        return (self.operand,)


class Call(NamedTuple):
    """`target.function(arguments)`, `function(arguments)`; operators too: `+`, `?:`, `[]` of a list or a map, `list`,
    `map`, `message`."""

    function: str
    target: Node | None
    arguments: tuple[Node, ...]

    def children(self) -> tuple[Node, ...]:
        return self.arguments if self.target is None else (self.target, *self.arguments)

    @property
    def variable(self) -> str:
        """The variable that takes each item in turn; empty: the call is not a loop."""
        looping = self.target is not None and self.function in MACROS and len(self.arguments) >= 2
        first = self.arguments[0] if looping else None
        return first.name if isinstance(first, Name) else ""


Node = Value | Name | Select | Call


def parse(expression: str) -> Node:
    """Returns the tree of an expression. Raises CelError."""
    parser = _Parser(expression)
    node = parser.ternary()
    parser.expect("")
    return node


class _Parser:
    def __init__(self, expression: str) -> None:
        self._tokens = [*tokens(expression), ("end", "", len(expression))]
        self._at = 0
        self._depth = 0

    def ternary(self) -> Node:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise CelError(f"has brackets in brackets, more than {DEPTH_MAX} deep")
        condition = self._binary(0)
        if self._take("?"):
            yes = self.ternary()
            self.expect(":")
            condition = Call("?:", None, (condition, yes, self.ternary()))
        self._depth -= 1
        return condition

    def expect(self, text: str) -> None:
        kind, found, at = self._tokens[self._at]
        if found != text or (kind == "end") != (text == ""):
            what = repr(found) if found else "the end"
            raise CelError(f"has {what} at position {at}" + (f" in place of {text!r}" if text else ""))
        if kind != "end":
            self._at += 1

    def _take(self, *texts: str) -> str:
        kind, found, _ = self._tokens[self._at]
        if kind in ("sign", "name") and found in texts:
            self._at += 1
            return found
        return ""

    def _binary(self, row: int) -> Node:
        if row == len(_ROWS):
            return self._unary()
        left = self._binary(row + 1)
        while operator := self._take(*_ROWS[row]):
            left = Call(operator, None, (left, self._binary(row + 1)))
        return left

    def _unary(self) -> Node:
        operators = 0
        while self._take("!", "-"):
            operators += 1
        operand = self._member()
        return Call("!", None, (operand,)) if operators else operand

    def _member(self) -> Node:
        node = self._primary()
        while True:
            if self._take("."):
                optional = self._take("?")
                name = self._name()
                node = Call(name, node, self._items(")")) if not optional and self._take("(") else Select(node, name)
            elif self._take("["):
                self._take("?")
                node = Call("[]", None, (node, self.ternary()))
                self.expect("]")
            elif isinstance(node, Name | Select) and self._take("{"):
                node = Call("message", None, self._entries(names=True))
            else:
                return node

    def _primary(self) -> Node:
        if self._take("("):
            node = self.ternary()
            self.expect(")")
            return node
        if self._take("["):
            return Call("list", None, self._items("]"))
        if self._take("{"):
            return Call("map", None, self._entries(names=False))
        self._take(".")
        kind, text, at = self._tokens[self._at]
        if kind in ("text", "number") or (kind == "name" and text in _LITERALS):
            self._at += 1
            return Value(text)
        if kind != "name":
            raise CelError(f"has {repr(text) if text else 'the end'} at position {at} in place of a value")
        name = self._name()
        return Call(name, None, self._items(")")) if self._take("(") else Name(name)

    def _name(self) -> str:
        kind, text, at = self._tokens[self._at]
        if kind != "name":
            raise CelError(f"has {repr(text) if text else 'the end'} at position {at} in place of a name")
        self._at += 1
        return text.strip("`")

    def _items(self, end: str) -> tuple[Node, ...]:
        items = []
        while not self._take(end):
            items.append(self.ternary())
            if not self._take(","):
                self.expect(end)
                break
        return tuple(items)

    def _entries(self, *, names: bool) -> tuple[Node, ...]:
        values = []
        while not self._take("}"):
            self._take("?")
            if names:
                self._name()
            else:
                values.append(self.ternary())
            self.expect(":")
            values.append(self.ternary())
            if not self._take(","):
                self.expect("}")
                break
        return tuple(values)


def tokens(expression: str) -> Iterator[tuple[str, str, int]]:
    """Yields the kind, the text and the position of each token. Raises CelError."""
    for found in _TOKEN.finditer(expression):
        kind = found.lastgroup or "bad"
        if kind == "bad":
            raise CelError(f"has {found.group()!r} at position {found.start()}")
        if kind != "blank":
            yield kind, found.group(), found.start()
