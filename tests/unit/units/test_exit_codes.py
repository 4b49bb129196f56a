"""Exit statuses of the steps before a program runs are put in words, with the field that asked for the step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from rube.api import Service
from rube.units.drivers import programs
from rube.units.drivers.dbus.reasons import reason_of
from rube.units.service.exit_codes import EXIT_CODES, exit_detail, explain_exit


def test_each_field_that_is_named_is_one_of_a_service() -> None:
    fields = set(Service.DESCRIPTOR.fields_by_name)
    assert {each.field for each in EXIT_CODES.values() if each.field} <= fields


def test_all_of_systemds_statuses_are_known() -> None:
    # systemd.exec(5): 223 and 234 are unused, 244 is not given out.
    assert set(EXIT_CODES) == set(range(200, 246)) - {223, 234, 244}


def test_a_programs_own_status_has_no_explanation() -> None:
    assert explain_exit(3) == ""
    assert exit_detail(1, 3) == "status 3"


@pytest.mark.parametrize(
    ("code", "status", "words"), [(1, 203, "status 203/EXEC"), (2, 9, "signal 9"), (3, 11, "signal 11"), (0, 0, "")]
)
def test_an_end_is_written_as_systemctl_does(code: int, status: int, words: str) -> None:
    assert exit_detail(code, status) == words


def test_what_is_wrong_with_a_program_is_seen(tmp_path: Path) -> None:
    plain, script, fine, fifo = (tmp_path / name for name in ("plain", "script", "fine", "fifo"))
    plain.write_text("text")
    script.write_text("#!/nonexistent/python\n")
    fine.write_text("#!/bin/sh\n")
    os.mkfifo(fifo, 0o755)
    script.chmod(0o755)
    fine.chmod(0o755)
    assert programs.why_not_executable(f"{tmp_path}/none") == f"{tmp_path}/none: no such file"
    assert "is a directory" in programs.why_not_executable(str(tmp_path))
    assert "is not executable" in programs.why_not_executable(str(plain))
    assert "is not a regular file" in programs.why_not_executable(str(fifo))
    assert "its interpreter /nonexistent/python does not exist" in programs.why_not_executable(str(script))
    assert programs.why_not_executable(str(fine)) == ""


def _command(path: str, status: int, at: int = 1) -> list[Any]:
    return [path, [path], False, 0, 0, at, at, 7, 1, status]


def test_the_reason_names_the_list_whose_command_failed_last() -> None:
    service = {
        "Result": "exit-code",
        "ExecStartPre": [_command("/nonexistent/pre", 203, at=5)],
        "ExecStart": [_command("/nonexistent/start", 203, at=4)],
    }
    assert reason_of(service) == "exec.start_pre: /nonexistent/pre: no such file"


def test_the_reason_names_user_group_and_directory() -> None:
    service = {"Result": "exit-code", "User": "no-such-user", "ExecStart": [_command("/bin/true", 217)]}
    assert reason_of(service) == "user: user 'no-such-user' does not exist on this machine"
    service = {"Result": "exit-code", "Group": "no-such-group", "ExecStart": [_command("/bin/true", 216)]}
    assert reason_of(service) == "group: group 'no-such-group' does not exist on this machine"
    service = {"Result": "exit-code", "WorkingDirectory": "!/nonexistent", "ExecStart": [_command("/bin/true", 200)]}
    assert reason_of(service) == "working_directory: /nonexistent: no such file"


def test_a_missing_environment_file_is_named() -> None:
    service = {"Result": "resources", "EnvironmentFiles": [["/nonexistent/a", True], ["/nonexistent/b", False]]}
    assert reason_of(service) == "environment_file: /nonexistent/b: no such file"


def test_a_program_that_ended_by_itself_needs_no_reason() -> None:
    assert reason_of({"Result": "exit-code", "ExecStart": [_command("/bin/false", 1)]}) == ""
