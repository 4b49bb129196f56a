"""The files between driver and shim: one reader, with defaults, for files of any release and in any condition."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rube.units.boot import boot_identity, is_same_boot
from rube.units.drivers.supervisor import files
from rube.units.drivers.supervisor.files import FileError
from rube.units.drivers.supervisor.records import (
    FORMAT,
    Plan,
    RequestRecord,
    StartCondition,
    StateRecord,
    UnitRecord,
)
from rube.units.service.policy import Policy, StatusSet
from rube.units.service.states import Result, State

POLICY = Policy(commands={"start": (True, False)}, success=StatusSet((1, 2), (15,)), runtime_ns=5, stop_timeout_ns=None)
UNIT = UnitRecord(
    uid="u",
    generation=7,
    plan=Plan(
        policy=POLICY,
        commands={"start": (("/bin/echo", ("a", "b"), "-"),)},
        conditions=(StartCondition(type="PathExists", value="!/x", is_assert=True),),
        environment={"A": "ä\x01\ud800"},
        nice=-5,
        limits={"open_files": 2**64 - 1},
    ),
)
STATE = StateRecord(
    boot_id="b",
    shim=(1, 2),
    state=State.AUTO_RESTART,
    result=Result.CORE_DUMP,
    processes=((3, 4), (5, 6)),
    exit=(1, 203),
    starts_ns=(7, 8),
    notes=("a",),
)


@pytest.mark.parametrize("record", [UNIT, STATE, RequestRecord(id="x", verb="start"), StateRecord(boot_id="b")])
def test_a_record_is_read_as_it_was_written(tmp_path: Path, record: Any) -> None:
    files.write(str(tmp_path), record, durable=True)
    assert files.read(str(tmp_path), type(record)) == record


def test_a_record_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    directory = tmp_path / "units" / "x"
    before = os.umask(0)
    try:
        files.make_directory(str(directory))
        files.write(str(directory), UNIT)
        (tmp_path / "old").mkdir(mode=0o755)
        files.make_directory(str(tmp_path / "old"))
        (tmp_path / "somebody's").mkdir(mode=0o755)
        files.make_directory(str(tmp_path / "somebody's" / "units"))
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (directory.parent, directory, directory / "unit.json")]
    assert modes == [0o700, 0o700, 0o600]
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o700, "one that an older release has made"
    assert (tmp_path / "somebody's").stat().st_mode & 0o777 == 0o755


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert files.read(str(tmp_path), StateRecord) is None
    assert files.read(str(tmp_path / "none"), StateRecord) is None


def test_fields_that_an_older_release_did_not_write_have_their_defaults(tmp_path: Path) -> None:
    """The record is as Rube 0.1 wrote it, and as a release wrote it that knew less still."""
    (tmp_path / "state.json").write_text('{"boot_id": "b", "shim": [1, 2], "state": "running", "main_pid": 3}')
    record = files.read(str(tmp_path), StateRecord)
    assert record == StateRecord(format=1, boot_id="b", shim=(1, 2), state=State.RUNNING, main_pid=3)
    (tmp_path / "unit.json").write_text('{"uid": "u", "plan": {"policy": {"restart": "always"}}}')
    unit = files.read(str(tmp_path), UnitRecord)
    assert unit is not None
    assert unit.plan == Plan(policy=Policy(restart="always"))


def test_fields_of_a_later_release_are_left_out(tmp_path: Path) -> None:
    data = {"format": FORMAT, "boot_id": "b", "sorrow": {"deep": [1]}}
    (tmp_path / "state.json").write_text(json.dumps(data))
    assert files.read(str(tmp_path), StateRecord) == StateRecord(boot_id="b")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is no JSON"),
        (b"\0\xff garbage", "it is no JSON"),
        (b'{"state": "run', "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"{}", "boot_id: is missing"),
        (b"[]", "it: an object is needed, not \\[\\]"),
        (b'{"main_pid": "x"}', "main_pid: a whole number is needed, not 'x'"),
        (b'{"main_pid": true}', "main_pid: a whole number is needed, not True"),
        (b'{"shim": [1]}', "shim: 2 values are needed, not 1"),
        (b'{"state": "flying"}', "state: 'flying' is unknown"),
        (b'{"state": {}}', "state: {} is unknown"),
        (b'{"exit": 5}', "exit: a list is needed"),
        (b'{"starts_ns": [1, null]}', "starts_ns\\[1\\]: a whole number is needed"),
        (b'{"format": "new"}', "format: a whole number is needed"),
    ],
)
def test_what_cannot_be_read_is_told_with_file_and_field(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "state.json").write_bytes(content)
    with pytest.raises(FileError, match=f"{tmp_path}/state.json: damaged: {why}") as raised:
        files.read(str(tmp_path), StateRecord)
    assert not raised.value.newer


def test_what_is_no_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    os.mkfifo(tmp_path / "unit.json")
    (tmp_path / "request.json").symlink_to("/etc/passwd")
    kinds: tuple[Any, ...] = (StateRecord, UnitRecord, RequestRecord)
    for kind in kinds:
        with pytest.raises(FileError, match=kind.NAME):
            files.read(str(tmp_path), kind)


def test_a_format_of_a_later_release_is_refused_and_known_as_such(tmp_path: Path) -> None:
    (tmp_path / "unit.json").write_text(json.dumps({"format": FORMAT + 1, "uid": 5}))
    with pytest.raises(FileError, match="of a later Rube") as raised:
        files.read(str(tmp_path), UnitRecord)
    assert raised.value.newer


def test_a_definition_of_the_size_of_the_largest_object_is_read_back(tmp_path: Path) -> None:
    """2 MiB of control characters are 12 MiB of JSON."""
    record = UnitRecord(uid="u", plan=Plan(environment={"A": "\x01" * (2 * 1024 * 1024)}))
    files.write(str(tmp_path), record)
    assert (tmp_path / "unit.json").stat().st_size > 12 * 1024 * 1024
    assert files.read(str(tmp_path), UnitRecord) == record


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_BYTES_MAX", 1000)
    with pytest.raises(OSError, match="more than the 1000 that are read"):
        files.write(str(tmp_path), UnitRecord(uid="u" * 1000))
    assert not (tmp_path / "unit.json").exists()


def test_a_boot_is_known_by_more_than_the_kernels_word() -> None:
    identity = boot_identity()
    kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert identity.startswith(f"{kernel}/")
    assert identity == boot_identity()
    assert is_same_boot(identity, identity)
    assert is_same_boot(kernel, identity), "as the first release recorded it"
    assert not is_same_boot(f"{identity}1", identity), "a container that was started again"
    assert not is_same_boot("", identity)
