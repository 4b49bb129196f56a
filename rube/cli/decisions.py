"""Recorded decisions: files of States and what was decided on them, a file for each controller, and their replay."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, TypeVar, cast

from google.protobuf.message import DecodeError
from google.protobuf.proto import parse_length_prefixed, serialize_length_prefixed

from rube.api import Decision, State, textproto
from rube.api.errors import InvalidArgumentError
from rube.api.keys import ObjectKey
from rube.api.types import BUILTIN, Types
from rube.api.types.pushed import kind_from
from rube.controllers.bringing import brought_types
from rube.controllers.config import Decided
from rube.controllers.contract import Controller

if TYPE_CHECKING:
    from io import BytesIO

T = TypeVar("T", State, Decision)
_LOG = logging.getLogger("rube.controller")
SUFFIX: Final = ".decisions"
OLDER: Final = ".decisions.1"
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
        serialize_length_prefixed(decided.state, cast("BytesIO", file))
        serialize_length_prefixed(decided.decision, cast("BytesIO", file))
        file.flush()


def _opened(path: Path) -> BinaryIO:
    """Opens a file to append whole records: what a killed process left of one is cut off."""
    path.touch(mode=0o600)
    file = path.open("r+b")
    whole = 0
    for _ in _records(file):
        whole = file.tell()
    file.seek(whole)
    file.truncate()
    return file


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

    Raises InvalidArgumentError if there is no record, FileNotFoundError for no directory, and whatever the controller
    raises.
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
    """Yields whole records; what follows the last of them, such as a part of one, is left out."""
    while True:
        try:
            state = _read(State, file)
            decision = _read(Decision, file)
        except (ValueError, DecodeError):
            return
        if state is None or decision is None:
            return
        yield state, decision


def _read(kind: type[T], file: BinaryIO) -> T | None:
    found: T | None = parse_length_prefixed(kind, cast("BytesIO", file))  # it needs no more than `read`
    return found


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
