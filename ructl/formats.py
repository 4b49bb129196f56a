"""Objects in JSON and YAML, by protobuf's JSON mapping, read from untrusted bytes.

Fields that the server sets are ignored, so that the output of `ructl get -o json` or `-o yaml` can be put again. YAML
is read as YAML 1.2: only `true` and `false` are booleans, and a scalar that has a leading zero or looks like a date is
text. The number of nodes, the depth and duplicate keys are checked before anything is built.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from rube.api import Object
from rube.api.errors import InvalidArgumentError
from rube.api.keys import key_of
from rube.api.spelling import suggestion
from rube.api.textproto import Document
from rube.api.textproto.invisible import invisible_hint
from rube.api.types.kinds import AnyPool
from ructl.cluster_types import TYPES
from ructl.document_places import Place, path_in, place_in, place_in_json
from ructl.output import groups, is_request_to_rube

FORMATS: Final = ("textproto", "json", "yaml")
_BY_SUFFIX: Final = {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".textproto": "textproto", ".txtpb": "textproto"}
DEPTH_MAX: Final = 100
"""The deepest nesting in JSON and YAML; protobuf's own bound for messages within messages."""
NODES_MAX: Final = 1_000_000
"""The most nodes of a YAML document, its aliases written out."""
_SERVER_FIELDS: Final = frozenset(
    (
        "uid",
        "revision",
        "create_revision",
        "createRevision",
        "generation",
        "create_time",
        "createTime",
        "field_owners",
        "fieldOwners",
    )
)
# The library's prefix for each message that the field is in.
_WRAPPING: Final = re.compile(r"Failed to parse (\S+) field: ")
# Python's errors for a value of another type than its field, and their meaning.
_WRONG_TYPES: Final = (
    (re.compile(r"expected string or bytes-like object, got '(int|float|bool)'"), "takes text: write it in quotes"),
    (re.compile(r"expected string or bytes-like object.*"), "takes text"),
    (re.compile(r"'\w+' object (is not|has no) .*"), "takes an object with fields"),
    (re.compile(r"invalid literal for int\(\).*|int\(\) argument must be .*"), "takes a whole number"),
)
_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]*)"')
_UNKNOWN_VALUE = re.compile(r"Invalid enum value (\S+) for enum type ([\w.]+)")
_LONG_WORD: Final = re.compile(r"\S{100,}")
# The most digits of a number in JSON; the greatest double has 309.
_DIGITS_MAX: Final = 400
# YAML on one line, which begins as JSON does, or as text format, where a message may follow a colon, too.
_YAML_IN_BRACES: Final = re.compile(r"[{\[\s]*[A-Za-z_'@][\w'.@/-]*\s*:")
_KEY_AND_BRACE: Final = re.compile(r"(\w+)\s*:\s*[{\[]")
_TYPE_KEY: Final = "@type"
_STEP: Final = re.compile(r"[^.\[\]]+")
_YAML_BEGINS: Final = re.compile(
    r"---(\s|$)|%YAML|- |[A-Za-z_\"'@][\w\"'.@/-]*:\s*([#&!|>].*)?$|[\"'][\w.@/-]+[\"']\s*:"
)


def format_of(text: str, filename: str) -> str:
    """The format by the file's name, and where that says nothing, by how the content begins."""
    for suffix, found in _BY_SUFFIX.items():
        if filename.endswith(suffix):
            return found
    for line in text.removeprefix("\ufeff").splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            if stripped[0] in "{[":
                return "yaml" if _YAML_IN_BRACES.match(text, text.index(stripped)) else "json"
            if _KEY_AND_BRACE.match(stripped) and _TYPE_KEY in text:
                return "yaml"
            return "yaml" if _YAML_BEGINS.match(stripped) else "textproto"
    return "textproto"


def parse_json(text: str, filename: str) -> list[Document]:
    """The documents of a file: values of JSON, one after the other. Raises InvalidArgumentError with file and line."""
    with _invisible_told(text):
        return _documents(_json_values(text.removeprefix("\ufeff"), filename), filename)


def parse_yaml(text: str, filename: str) -> list[Document]:
    """The documents of a YAML file. Raises InvalidArgumentError with file and line."""
    with _invisible_told(text):
        return _documents(_yaml_values(text, filename), filename)


@contextmanager
def _invisible_told(text: str) -> Iterator[None]:
    """Adds to an error the first character of the text that cannot be seen: it may be why."""
    try:
        yield
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{error.message}{invisible_hint(text)}", **error.metadata) from error


def _documents(values: Iterator[tuple[Any, int, Place]], filename: str) -> list[Document]:
    documents = [
        document
        for value, line, place in values
        if value is not None
        for document in _read(value, filename, line, place)
    ]
    if not documents:
        raise InvalidArgumentError(f"{filename}:1: there is no object in it; write metadata and spec")
    return documents


def _read(value: Any, filename: str, line: int, place: Place) -> Iterator[Document]:
    """The documents of one value: one for an object, one for each group of a list that every store takes at once."""
    within: tuple[str, ...] = ("items",)
    if isinstance(value, list):
        value, within = {"items": value}, ()
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"{filename}:{line}: this is no object: write metadata and spec, or items")
    if "items" not in value:
        yield Document(objects=(_object(value, "", filename, place),), filename=filename, line=line)
        return
    items = value["items"]
    if set(value) != {"items"} or not isinstance(items, list) or not items:
        raise InvalidArgumentError(f"{filename}:{line}: a list has the field items alone, with one object or more")
    objects = [
        _object(item, f"items[{index}]: ", filename, partial(_below, place, (*within, str(index))))
        for index, item in enumerate(items)
    ]
    for group in groups(objects):
        yield Document(objects=tuple(group), filename=filename, line=line)


def _below(place: Place, prefix: tuple[str, ...], path: Sequence[str]) -> str:
    return place((*prefix, *path))


def _object(value: Any, where: str, filename: str, place: Place) -> Object:
    def refused(what: str, path: Sequence[str] = (), **metadata: str) -> InvalidArgumentError:
        return InvalidArgumentError(f"{filename}:{place(path)}: {where}{what}", **metadata)

    if not isinstance(value, dict):
        raise refused("this is no object: write metadata and spec")
    written = {name: field for name, field in value.items() if name != "status"}
    if isinstance(metadata := written.get("metadata"), dict):
        written["metadata"] = {name: field for name, field in metadata.items() if name not in _SERVER_FIELDS}
    try:
        obj = _parsed(written)
        TYPES.kind(key_of(obj).type)
        TYPES.validate_object_key(key_of(obj))
    except InvalidArgumentError as error:
        raise refused(error.message, _STEP.findall(error.metadata.get("field", "")), **error.metadata) from error
    for name in [name for name in obj.metadata.annotations if is_request_to_rube(name)]:
        del obj.metadata.annotations[name]
    return obj


def _parsed(written: dict[str, Any]) -> Object:
    """Returns the object in plain values. Raises InvalidArgumentError; its metadata has the `field`."""
    from google.protobuf import json_format

    spec = written.get("spec")
    if isinstance(spec, dict) and isinstance(url := spec.get(_TYPE_KEY), str):
        try:
            TYPES.message_class(url.rpartition("/")[2])
        except InvalidArgumentError as error:
            raise InvalidArgumentError(error.message, field=f"spec.{_TYPE_KEY}") from error
    obj = Object()
    try:
        json_format.ParseDict(
            written,
            obj,
            descriptor_pool=AnyPool(TYPES),  # type: ignore[arg-type]  # it is asked for messages alone
            max_recursion_depth=DEPTH_MAX,
        )
    except (json_format.ParseError, TypeError, ValueError, AttributeError, RecursionError) as error:
        text = json_error_text(error)
        raise InvalidArgumentError(text, field=".".join(_path_of(error))) from error
    if not obj.spec.type_url:
        raise InvalidArgumentError('the object has no spec; write spec with "@type": "rube/api.systemd.Unit"')
    return obj


def _path_of(error: Exception) -> tuple[str, ...]:
    """Returns the path of the field that an error of protobuf's JSON library is about."""
    message = " ".join(str(error).split())
    path = []
    while wrapped := _WRAPPING.match(message):
        path.append(wrapped[1])
        message = message[wrapped.end() :]
    unknown = _UNKNOWN_FIELD.match(message)
    return (*(path_in(message) or path), *([unknown[2]] if unknown else []))


def json_error_text(error: Exception) -> str:
    """The message of protobuf's JSON library on one line, without its list of fields."""
    message = " ".join(str(error).split())
    if isinstance(error, RecursionError):
        return f"it is nested deeper than {DEPTH_MAX}"
    path = []
    while wrapped := _WRAPPING.match(message):
        path.append(wrapped[1])
        message = message[wrapped.end() :]
    message = message.partition(" Available Fields")[0].rstrip(".")
    for pattern, meaning in _WRONG_TYPES:
        message = pattern.sub(meaning, message)
    message += _meant(message)
    if path and "Object." not in message:
        message = f"{'.'.join(path)}: {message}"
    return _LONG_WORD.sub(lambda word: f"{word[0][:40]}…", message) or type(error).__name__


def _meant(message: str) -> str:
    """Returns what was probably meant by a field or a value that the library does not know."""
    from google.protobuf import descriptor_pool

    kinds = [kind for kind in TYPES.kinds() if kind.source]
    for pool in (descriptor_pool.Default(), *(kind.spec.DESCRIPTOR.file.pool for kind in kinds)):
        try:
            if found := _UNKNOWN_FIELD.match(message):
                return f"; {suggestion(found[2], pool.FindMessageTypeByName(found[1]).fields_by_name)}"
            if found := _UNKNOWN_VALUE.match(message):
                return f"; {suggestion(found[1], pool.FindEnumTypeByName(found[2]).values_by_name)}"
        except KeyError:
            continue
    return ""


def _json_values(text: str, filename: str) -> Iterator[tuple[Any, int, Place]]:
    decoder = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_int=_int)
    at = _skip_blanks(text, 0)
    while at < len(text):
        line = text.count("\n", 0, at) + 1
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise InvalidArgumentError(f"{filename}:{error.lineno}:{error.colno}: {error.msg}, in JSON") from error
        except RecursionError as error:
            raise InvalidArgumentError(f"{filename}:{line}: it is nested deeper than {DEPTH_MAX}") from error
        except ValueError as error:
            raise InvalidArgumentError(f"{filename}:{line}: {error}") from error
        yield value, line, partial(place_in_json, text, at, end, depth_max=DEPTH_MAX, nodes_max=NODES_MAX)
        at = _skip_blanks(text, end)


def _skip_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _int(digits: str) -> int:
    if len(digits) > _DIGITS_MAX:
        raise ValueError(f"no field takes a number of {len(digits)} digits")
    return int(digits)


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the field {name!r} is set twice in one object")
        found[name] = value
    return found


def _yaml_values(text: str, filename: str) -> Iterator[tuple[Any, int, Place]]:
    import yaml

    from ructl.yaml_loader import check_bounds, loader_of, yaml_error

    try:
        check_bounds(text, filename, nodes_max=NODES_MAX, depth_max=DEPTH_MAX)
        loader = loader_of(text)
        try:
            while loader.check_node():
                node = loader.get_node()
                yield loader.construct_document(node), node.start_mark.line + 1, partial(place_in, node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise yaml_error(error, filename) from error
