"""A YAML loader with bounds, without duplicate keys, and with the types of YAML 1.2's core schema."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from rube.api.errors import InvalidArgumentError

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):  # type: ignore[misc]  # the fast one where libyaml is there
    """Builds plain values. A duplicate key in a mapping is an error."""

    yaml_implicit_resolvers: ClassVar[Any] = {}
    """Not those of YAML 1.1, in which `NO` is false and 0022 is 18."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the field {key.value!r} is set twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Returns the value of a node. The converters' errors for a bad scalar get the place of that scalar."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, AttributeError, LookupError, TypeError, OverflowError) as error:
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"this is no {kind} that can be read", node.start_mark
            ) from error


for _tag, _pattern, _first in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(0|[1-9][0-9]*)?(\.[0-9]+|\.|(?=[eE]))([eE][-+]?[0-9]+)?", list("-+0123456789.")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


def loader_of(text: str) -> Any:
    """A loader of the text's documents; check its bounds first."""
    return _Loader(text)


def check_bounds(text: str, filename: str, *, nodes_max: int, depth_max: int) -> None:
    """Raises InvalidArgumentError for a document that is too deep, or has too many nodes once its aliases are
    expanded."""
    sizes: dict[str, int] = {}
    opened: list[tuple[str | None, int]] = []  # the anchor, and how many nodes there were before
    nodes = 0
    for event in yaml.parse(text, Loader=_BASE):
        assert event.start_mark is not None
        line = event.start_mark.line + 1
        match event:
            case yaml.DocumentStartEvent():
                sizes.clear()
            case yaml.AliasEvent():
                nodes += sizes.get(event.anchor or "", 1)
            case yaml.ScalarEvent():
                nodes += 1
                if event.anchor:
                    sizes[event.anchor] = 1
            case yaml.CollectionStartEvent():
                nodes += 1
                opened.append((event.anchor, nodes))
                if event.anchor:
                    sizes[event.anchor] = nodes_max  # an alias inside its own anchor has no end
            case yaml.CollectionEndEvent():
                anchor, before = opened.pop()
                if anchor:
                    sizes[anchor] = nodes - before + 1
        if len(opened) > depth_max:
            raise InvalidArgumentError(f"{filename}:{line}: it is nested deeper than {depth_max}")
        if nodes > nodes_max:
            raise InvalidArgumentError(f"{filename}:{line}: it has more than {nodes_max} nodes, aliases written out")


def load_bounded(text: str, filename: str, *, nodes_max: int = 10_000, depth_max: int = 20) -> Any:
    """The one document of a small file; None: it is empty. Raises InvalidArgumentError with file, line and column."""
    try:
        check_bounds(text, filename, nodes_max=nodes_max, depth_max=depth_max)
        loader = loader_of(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise yaml_error(error, filename) from error


def yaml_error(error: yaml.YAMLError, filename: str) -> InvalidArgumentError:
    """Returns the library's error as an InvalidArgumentError, with its place."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"{mark.line + 1}:{mark.column + 1}" if mark else "1"
    what = getattr(error, "problem", None) or getattr(error, "context", None) or " ".join(str(error).split())
    return InvalidArgumentError(f"{filename}:{where}: {what}, in YAML")
