"""Conditions, judged on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rube.units.drivers.supervisor.conditions import JUDGED, what_is_unmet
from rube.units.drivers.supervisor.records import StartCondition


def holds(kind: str, value: str) -> bool:
    assert kind in JUDGED
    return what_is_unmet([StartCondition(type=kind, value=value)]) == ""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "full").write_text("x")
    (tmp_path / "empty").touch()
    (tmp_path / "program").touch(mode=0o755)
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "true", "false"),
    [
        ("PathExists", "full", "none"),
        ("PathExistsGlob", "f?ll", "g*"),
        ("PathIsDirectory", "directory", "full"),
        ("PathIsSymbolicLink", "link", "full"),
        ("PathIsReadWrite", "full", "none"),
        ("DirectoryNotEmpty", "", "directory"),
        ("FileNotEmpty", "full", "empty"),
        ("FileNotEmpty", "full", "directory"),
        ("FileIsExecutable", "program", "full"),
        ("FileIsExecutable", "program", "directory"),
    ],
)
def test_paths(place: Path, kind: str, true: str, false: str) -> None:
    for name, expected in ((true, True), (false, False)):
        assert holds(kind, f"{place}/{name}") is expected
        assert holds(kind, f"!{place}/{name}") is not expected
        assert holds(kind, f"! {place}/{name}") is not expected


def test_mount_points() -> None:
    assert holds("PathIsMountPoint", "/proc")
    assert holds("PathIsMountPoint", "/")
    assert not holds("PathIsMountPoint", "/proc/self")
    assert not holds("PathIsMountPoint", "/none")
    assert not holds("PathIsReadWrite", "/none")


def test_users_groups_and_hosts() -> None:
    assert holds("User", str(os.getuid()))
    assert not holds("User", str(os.getuid() + 1))
    assert not holds("User", "no-such-user")
    assert holds("Group", str(os.getgid()))
    assert not holds("Group", "no-such-group")
    assert holds("Host", os.uname().nodename.upper())
    assert holds("Host", os.uname().nodename[:1] + "*")
    assert not holds("Host", "some-other-host")


def test_the_kernel_and_the_machine() -> None:
    first = Path("/proc/cmdline").read_text().split()
    if first:
        assert holds("KernelCommandLine", first[0])
        assert holds("KernelCommandLine", first[0].partition("=")[0])
    assert not holds("KernelCommandLine", "no-such-word")
    assert holds("KernelVersion", ">=2.6")
    assert holds("KernelVersion", "<999 >=2.6")
    assert not holds("KernelVersion", "<2.6")
    assert holds("KernelVersion", os.uname().release)
    assert holds("CPUs", "1")
    assert not holds("CPUs", ">=100000")
    assert holds("Memory", "1M")
    assert not holds("Memory", ">=100000T")
    assert holds("Architecture", "native")
    assert not holds("Architecture", "s390")


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUBE_TEST", "x")
    assert holds("Environment", "RUBE_TEST")
    assert holds("Environment", "RUBE_TEST=x")
    assert not holds("Environment", "RUBE_TEST=y")
    assert not holds("Environment", "RUBE_NO_TEST")


def test_all_must_hold_and_of_the_triggers_one() -> None:
    def unmet(*values: str) -> bool:
        return bool(what_is_unmet([StartCondition(type="PathExists", value=value) for value in values]))

    assert not unmet("/proc", "/dev")
    assert unmet("/proc", "/none")
    assert not unmet("|/none", "|/proc")
    assert unmet("|/none", "|/nothing")
    assert unmet("/none", "|/proc")
    assert not unmet("/proc", "|!/none")


def test_conditions_and_assertions_are_judged_apart() -> None:
    conditions = [
        StartCondition(type="PathExists", value="|/none"),
        StartCondition(type="PathExists", value="|/proc", is_assert=True),
    ]
    assert what_is_unmet(conditions) == "not started: the condition ConditionPathExists=|/none does not hold"
    conditions = [StartCondition(type="PathExists", value="/none", is_assert=True)]
    assert what_is_unmet(conditions) == "not started: the assertion AssertPathExists=/none does not hold"


def test_a_type_that_is_not_judged_holds() -> None:
    assert what_is_unmet([StartCondition(type="Security", value="selinux")]) == ""


@pytest.mark.parametrize("value", ["", "!", "|", "\0"])
def test_values_that_mean_nothing_raise_nothing(value: str) -> None:
    for kind in JUDGED:
        what_is_unmet([StartCondition(type=kind, value=value)])
