"""The line and column of a field in a document of YAML or JSON, for an error about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from rube.api.errors import InvalidArgumentError

Place = Callable[[Sequence[str]], str]
"""Returns the place of a path such as `("spec", "service")`, or of the nearest that the document has around it."""

# Paths in errors of protobuf's JSON library: `at "Object.spec.items[1].name"`, and without quotes at an end.
_AT: Final = re.compile(r'at "?Object\.([\w.\[\]]+)')
_STEPS: Final = re.compile(r"\w+")


def path_in(error: str) -> tuple[str, ...]:
    """Returns the path that an error of protobuf's JSON library names, field by field and item by item."""
    found = _AT.search(error)
    return tuple(_STEPS.findall(found[1])) if found else ()


def place_in(node: Any, path: Sequence[str]) -> str:
    """Returns line and column of a path below a node of YAML."""
    import yaml

    mark = node.start_mark
    for step in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if _is_key(key.value, step)), None)
            if found is None:
                break
            mark, node = found[0].start_mark, found[1]
        elif isinstance(node, yaml.SequenceNode) and step.isdecimal() and int(step) < len(node.value):
            node = node.value[int(step)]
            mark = node.start_mark
        else:
            break
    return f"{mark.line + 1}:{mark.column + 1}"


def place_in_json(text: str, at: int, end: int, path: Sequence[str], *, depth_max: int, nodes_max: int) -> str:
    """Returns line and column of a path in the value between two places of a text; its line alone where the value is no
    YAML, which is what gives the places."""
    import yaml

    from ructl.yaml_loader import check_bounds, loader_of

    line = text.count("\n", 0, at)
    column = at - (text.rfind("\n", 0, at) + 1)
    value = " " * column + text[at:end].replace("\t", " ")
    try:
        check_bounds(value, "", nodes_max=nodes_max, depth_max=depth_max)
        loader = loader_of("\n" * line + value)
        try:
            return place_in(loader.get_single_node(), path)
        finally:
            loader.dispose()
    except (yaml.YAMLError, InvalidArgumentError):
        return f"{line + 1}"


def _is_key(written: object, name: str) -> bool:
    """Returns whether a key is that field's, by its name or by its name in JSON (`api_url`, `apiUrl`)."""
    return isinstance(written, str) and (
        written == name or written.replace("_", "").lower() == name.replace("_", "").lower()
    )
