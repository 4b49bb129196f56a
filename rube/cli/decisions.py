"""Recorded decisions: files of States and what was decided on them, a file for each controller, and their replay."""

from __future__ import annotations

import difflib
import logging
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from rube.api import Decision, State, textproto
from rube.api.errors import InvalidArgumentError
from rube.api.keys import ObjectKey
from rube.api.types import BUILTIN, Types
from rube.api.types.pushed import kind_from
from rube.controllers.bringing import brought_types
from rube.controllers.config import Decided
from rube.controllers.contract import Controller

_LOG = logging.getLogger("rube.controller")
SUFFIX: Final = ".decisions"
OLDER: Final = ".decisions.1"
# A record: the sizes of State and Decision, the checksum of these eight bytes and that of the messages, the messages.
_SIZES: Final = struct.Struct("<II")
_SUMS: Final = struct.Struct("<II")
_HEAD_BYTES: Final = _SIZES.size + _SUMS.size
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""A file that is so large becomes the older one, in place of the one before."""


class Recorder:
    """An observer (rube.controllers.config) that appends decisions to files in a directory that is its user's alone.

    States hold whole objects. A disk that refuses a record ends the recording of that controller, and nothing else.
    """

    def __init__(self, directory: Path, file_bytes_max: int = FILE_BYTES_MAX) -> None:
        """Raises OSError if the directory cannot be made or written."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._bytes_max = file_bytes_max
        self._files: dict[str, BinaryIO | None] = {}

    def __call__(self, decided: Decided) -> None:
        try:
            self._append(decided)
        except OSError as error:
            self._files[decided.controller] = None
            _LOG.error("the decisions of %s are recorded no more: %s", decided.controller, error)

    def close(self) -> None:
        for file in self._files.values():
            if file is not None:
                file.close()

    def _append(self, decided: Decided) -> None:
        name = decided.controller
        if name not in self._files:
            self._files[name] = _opened(self._directory / f"{name}{SUFFIX}")
        file = self._files[name]
        if file is None:
            return
        if file.tell() > self._bytes_max:
            file.close()
            path = self._directory / f"{name}{SUFFIX}"
            path.replace(self._directory / f"{name}{OLDER}")
            file = self._files[name] = _opened(path)
        file.write(_record(decided.state, decided.decision))
        file.flush()


def _opened(path: Path) -> BinaryIO:
    """Opens a file to append whole records: the torn end of a killed process is cut off. Raises OSError for a file that
    is damaged, which stays as it is."""
    path.touch(mode=0o600)
    file = path.open("r+b")
    try:
        for _ in _records(file):
            pass
    except InvalidArgumentError as error:
        file.close()
        raise OSError(f"{error.message}: move it away") from error
    file.truncate()
    return file


def _record(state: State, decision: Decision) -> bytes:
    first, second = state.SerializeToString(deterministic=True), decision.SerializeToString(deterministic=True)
    sizes = _SIZES.pack(len(first), len(second))
    return sizes + _SUMS.pack(zlib.crc32(sizes), zlib.crc32(first + second)) + first + second


class ChangedDecision(NamedTuple):
    """The first recorded decision that a controller decides in another way, as text for people."""

    number: int
    """It counts from 1, in the order of recording."""
    key: ObjectKey
    state: str
    decisions: str
    """The lines that differ: - recorded, + now."""


class Replay(NamedTuple):
    """The number of decisions that were made again, and the first that differs, which is the last of them."""

    decisions: int
    difference: ChangedDecision | None


def replay(directory: Path, controller: Controller) -> Replay:
    """Lets a controller decide on the recorded states of its name, oldest first, until one decision differs.

    Raises InvalidArgumentError if there is no record or a damaged one, FileNotFoundError for no directory, and whatever
    the controller raises.
    """
    paths = [directory / f"{controller.name}{suffix}" for suffix in (OLDER, SUFFIX)]
    present = [path for path in paths if path.exists()]
    if not present:
        names = sorted({path.name.partition(SUFFIX)[0] for path in directory.iterdir() if SUFFIX in path.name})
        there = f"there are decisions of {', '.join(names)}" if names else "it has no decisions"
        raise InvalidArgumentError(f"{directory} has no decisions of {controller.name!r}: {there}")
    number = 0
    for path in present:
        with path.open("rb") as file:
            for state, recorded in _records(file):
                number += 1
                now = _plain(controller.decide(State.FromString(state.SerializeToString())), controller.name)
                before = _plain(recorded, controller.name)
                if now.SerializeToString(deterministic=True) != before.SerializeToString(deterministic=True):
                    return Replay(number, _difference(number, state, before, now, _types(controller)))
    return Replay(number, None)


def _records(file: BinaryIO) -> Iterator[tuple[State, Decision]]:
    """Yields whole records, and leaves the file behind the last of them, where a killed process may have left a part.
    Raises InvalidArgumentError, with the place, for bytes that are not as they were written."""
    place = 0
    while len(head := file.read(_HEAD_BYTES)) == _HEAD_BYTES:
        sizes = head[: _SIZES.size]
        first, second = _SIZES.unpack(sizes)
        of_sizes, of_messages = _SUMS.unpack(head[_SIZES.size :])
        if zlib.crc32(sizes) != of_sizes:
            raise InvalidArgumentError(f"{file.name} is damaged at byte {place}")
        messages = file.read(first + second)
        if len(messages) < first + second:
            break
        if zlib.crc32(messages) != of_messages:
            raise InvalidArgumentError(f"{file.name} is damaged at byte {place}")
        place = file.tell()
        yield State.FromString(messages[:first]), Decision.FromString(messages[first:])
    file.seek(place)


def _difference(number: int, state: State, recorded: Decision, now: Decision, types: Types) -> ChangedDecision:
    before, after = (textproto.format(each, types).splitlines() for each in (recorded, now))
    lines = list(difflib.unified_diff(before, after, lineterm="", n=3))[2:]
    return ChangedDecision(number, ObjectKey.from_proto(state.key), textproto.format(state, types), "\n".join(lines))


def _types(controller: Controller) -> Types:
    types = BUILTIN
    for obj in brought_types(controller):
        types = types.with_kind(kind_from(obj))
    return types


def _plain(decision: Decision, owner: str) -> Decision:
    """Returns the decision without what the runtime puts into one: ids of actions, a fence, the owner of fields."""
    plain = Decision.FromString(decision.SerializeToString(deterministic=True))
    for action in plain.actions:
        action.ClearField("id")
    for call in plain.calls:
        request = getattr(call, str(call.WhichOneof("call")))
        request.ClearField("fence")
        if "owner" in request.DESCRIPTOR.fields_by_name and request.owner == owner:
            request.ClearField("owner")
    return plain
