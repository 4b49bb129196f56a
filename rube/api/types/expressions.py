"""The bounds of one rule in CEL: which fields it reads, how often, and how much it can make of them.

The engine bounds the iterations of an expression (10,000), its brackets and its regular expressions. It does not bound
the size of the texts that an expression makes, nor the work of one iteration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from rube.api.spelling import quoted, suggestion
from rube.api.types.cel import Call, CelError, Name, Node, Select, Value, parse
from rube.api.types.shapes import ANYTHING, NUMBER, TEXT, Shape, of_field

EXPRESSION_CHARS_MAX: Final = 2_000
LOOPS_MAX: Final = 8
NESTING_MAX: Final = 2
"""Loops in one expression, and loops in loops."""
_FREE: Final = frozenset(["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"])
_MAKERS: Final = frozenset(["format", "join", "replace", "split"])
_NUMBERS: Final = frozenset(
    ["==", "!=", "<", "<=", ">", ">=", "in", "!", "&&", "||", "-", "*", "/", "%", "size", "has"]
)
_PRECISION: Final = re.compile(r"%\.?[0-9.]{3}")


class Weight(NamedTuple):
    """The cost of an expression, as far as its text tells it."""

    nodes: int
    nesting: int
    """Loops in loops."""

    compared: int
    """The mentions, in loops, of values other than the loop's own item: each iteration may read all of them."""

    literals: int
    """No literal list that a loop runs over has more items."""


def weigh(expression: str, variables: Mapping[str, Shape]) -> Weight:
    """Returns the expression's weight. Raises CelError: it is too long, reads a field that its message does not have,
    depends on the time, or can make much more text than it is given."""
    if len(expression) > EXPRESSION_CHARS_MAX:
        raise CelError(f"has {len(expression)} characters, more than {EXPRESSION_CHARS_MAX}: write several rules")
    walk = _Walk()
    walk.visit(parse(expression), {name: (shape, 0) for name, shape in variables.items()}, 0)
    if walk.loops > LOOPS_MAX or walk.nesting > NESTING_MAX:
        raise CelError(
            f"has {walk.loops} loops, {walk.nesting} in each other, more than {LOOPS_MAX} and {NESTING_MAX}: "
            "write the rule on the items' message"
        )
    return Weight(walk.nodes, walk.nesting, walk.compared, len(expression) if walk.literal else 0)


_Scope = Mapping[str, tuple[Shape, int]]


class _Walk:
    def __init__(self) -> None:
        self.nodes = self.loops = self.nesting = self.compared = self.joins = 0
        self.literal = False

    def visit(self, node: Node, scope: _Scope, depth: int) -> Shape:
        self.nodes += 1
        if isinstance(node, Value):
            return TEXT if node.text.endswith(("'", '"')) else NUMBER
        if isinstance(node, Call):
            return self._call(node, scope, depth)
        shape = self._path(node, scope, depth)
        root = _root(node)
        if depth and shape is not NUMBER and root in scope and scope[root][1] < depth:
            self.compared += 1
        return shape

    def _path(self, node: Node, scope: _Scope, depth: int) -> Shape:
        if isinstance(node, Name):
            if node.name == "now":
                raise CelError("reads `now`: a spec is right or wrong at any time alike")
            if node.name not in scope and node.name not in _FREE:
                raise CelError(f"reads {quoted(node.name)}; {suggestion(node.name, sorted(scope))}")
            return scope[node.name][0] if node.name in scope else ANYTHING
        if not isinstance(node, Select):
            return self.visit(node, scope, depth)
        return _selected(self._path(node.operand, scope, depth), node.field)

    def _call(self, call: Call, scope: _Scope, depth: int) -> Shape:
        if call.variable:
            return self._loop(call, scope, depth)
        target = ANYTHING if call.target is None else self.visit(call.target, scope, depth)
        shapes = [self.visit(argument, scope, depth) for argument in call.arguments]
        if call.function == "+":
            return self._sum(call, shapes, depth)
        if call.target is not None and call.function in _MAKERS:
            self._make(call, depth)
        if call.function == "?:":
            return shapes[1] if shapes[1] == shapes[2] else ANYTHING
        if call.function == "[]" and call.target is None and shapes[0].item is not None:
            return shapes[0].item
        if call.function == "list":
            return Shape("list", item=shapes[0] if shapes else ANYTHING)
        return NUMBER if call.function in _NUMBERS or target is NUMBER else ANYTHING

    def _loop(self, call: Call, scope: _Scope, depth: int) -> Shape:
        assert call.target is not None, "a loop runs over something"
        over = self.visit(call.target, scope, depth)
        if isinstance(call.target, Call) and call.target.function in ("list", "map") and call.target.target is None:
            self.compared += 1
            self.literal = True
        self.loops += 1
        self.nesting = max(self.nesting, depth + 1)
        item = over.item if over.kind == "list" and over.item is not None else TEXT if over.kind == "map" else ANYTHING
        inner = {**scope, call.variable: (item, depth + 1)}
        shapes = [self.visit(argument, inner, depth + 1) for argument in call.arguments[1:]]
        if call.function == "filter":
            return over
        if call.function != "map":
            return NUMBER
        if _makes(call.arguments[-1]):
            raise CelError("makes lists, maps or messages in map(): map to a field of the item")
        return Shape("list", item=shapes[-1])

    def _sum(self, call: Call, shapes: list[Shape], depth: int) -> Shape:
        if all(shape is NUMBER for shape in shapes):
            return NUMBER
        if depth and not any(isinstance(argument, Value) for argument in call.arguments):
            raise CelError("puts texts together in a loop: only a literal can be put to one there")
        return shapes[0]

    def _make(self, call: Call, depth: int) -> None:
        if depth:
            raise CelError(f"calls {call.function}() in a loop: write the rule on the items' message")
        literals = [argument.text for argument in call.arguments if isinstance(argument, Value)]
        if call.function == "join":
            self.joins += 1
            if self.joins > 1 or len(literals) != len(call.arguments) or any(len(text) > 10 for text in literals):
                raise CelError("calls join() twice, or with a separator that is long or no literal")
        if call.function == "replace" and (
            len(literals) != len(call.arguments) or len(literals) < 2 or len(literals[1]) > len(literals[0])
        ):
            raise CelError("calls replace() with what is no literal, or longer than what it replaces")
        if call.function == "format" and (not isinstance(call.target, Value) or _PRECISION.search(call.target.text)):
            raise CelError("calls format() on what is no literal, or asks for 100 digits or more")


def _selected(shape: Shape, field: str) -> Shape:
    if shape.kind == "map" and shape.item is not None:
        return shape.item
    if shape.kind in ("number", "text", "list"):
        raise CelError(f"reads .{field} of a {shape.kind}, which has no fields")
    if shape.message is None:
        return ANYTHING
    found = shape.message.fields_by_name.get(field)
    if found is None:
        known = shape.message.fields_by_name
        raise CelError(f"reads a field {quoted(field)} of {shape.message.full_name}; {suggestion(field, known)}")
    return of_field(found)


def _root(node: Node) -> str:
    while isinstance(node, Select):
        node = node.operand
    return node.name if isinstance(node, Name) else ""


def _makes(node: Node) -> bool:
    if isinstance(node, Call) and node.function in ("list", "map", "message") and node.target is None:
        return True
    return any(_makes(child) for child in node.children())
