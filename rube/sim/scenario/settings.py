"""Settings: one field of a scenario, changed from the command line, as `cluster.raft.pre_vote=false`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from rube.api.errors import InvalidArgumentError
from rube.sim.scenario.yamlproto import Path, Source, compose, field_of, set_field, show

_PART = re.compile(r"([A-Za-z_]\w*)((?:\[\d+\])*)\Z")
_INDEX = re.compile(r"\[(\d+)\]")


def apply_settings(scenario: Message, settings: Sequence[str], source: Source) -> None:
    """Sets `PATH=VALUE` in a message: the path's parts are the file's keys (`faults[0].at`), the value is YAML.

    The value replaces the present one. Raises InvalidArgumentError that names the setting.
    """
    for setting in settings:
        path_text, separator, value = setting.partition("=")
        if not separator:
            raise InvalidArgumentError(f"--set {setting}: write PATH=VALUE, such as cluster.raft.pre_vote=false")
        path = _path(setting, path_text)
        _set(scenario, path, value, setting, source)


def _path(setting: str, text: str) -> Path:
    path: list[str | int] = []
    for part in text.split("."):
        match = _PART.match(part)
        if match is None:
            raise InvalidArgumentError(
                f"--set {setting}: {text!r} is no path: write keys with dots, such as faults[0].at"
            )
        path.append(match[1])
        path.extend(int(index) for index in _INDEX.findall(match[2]))
    return tuple(path)


def _set(root: Message, path: Path, value: str, setting: str, source: Source) -> None:
    message, index = root, 0
    while True:
        key = str(path[index])
        field = field_of(message, key, f"--set {setting}", path[:index])
        rest = path[index + 1 :]
        if not rest:
            _put(message, field, value, path, setting, source)
            return
        if field.message_type is None or (field.is_repeated and not isinstance(rest[0], int)):
            raise InvalidArgumentError(f"--set {setting}: {show(path[: index + 1])} has no parts; set it as a whole")
        if not field.is_repeated:
            if isinstance(rest[0], int):
                raise InvalidArgumentError(f"--set {setting}: {show(path[: index + 1])} is no list")
            message, index = getattr(message, field.name), index + 1
            message.SetInParent()
            continue
        items, place = getattr(message, field.name), int(rest[0])
        if place >= len(items):
            raise InvalidArgumentError(f"--set {setting}: {show(path[: index + 1])} has {len(items)} items, from 0 on")
        if len(rest) == 1:
            raise InvalidArgumentError(
                f"--set {setting}: name a key of {show(path[: index + 2])}, or set the whole list"
            )
        message, index = items[place], index + 2


def _put(message: Message, field: FieldDescriptor, value: str, path: Path, setting: str, source: Source) -> None:
    errors: list[tuple[int, str]] = []
    own = Source(f"--set {setting}", errors=errors)
    node = compose(value, own.file)
    oneof = field.containing_oneof
    if oneof is not None:
        message.ClearField(message.WhichOneof(oneof.name) or field.name)
    message.ClearField(field.name)
    set_field(message, field, node, path, own)
    if errors:
        raise InvalidArgumentError(f"--set {setting}: {'; '.join(text for _, text in errors)}")
    source.positions.setdefault(path, source.line(path))
