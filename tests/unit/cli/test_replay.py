"""Recorded decisions: what is written, what a torn end costs, and the first decision that differs."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rube.api import ControllerSpec, Decision, State
from rube.api.keys import ObjectKey
from rube.cli.decisions import Recorder, replay
from rube.cli.main import rube
from rube.controllers.config import Decided
from rube.controllers.spec import SpecController


class Sleeper(SpecController):
    """Decides again after a time that depends on the revision, as one version of it says."""

    spec = ControllerSpec(name="sleeper", type="api.Node")

    def decide(self, state: State) -> Decision:
        decision = Decision()
        decision.wake_after.seconds = state.object.metadata.revision
        call = decision.calls.add().delete
        call.keys.append(state.key)
        return decision


class ChangedSleeper(Sleeper):
    """Differs from revision 3 on."""

    def decide(self, state: State) -> Decision:
        decision = super().decide(state)
        if state.object.metadata.revision >= 3:
            decision.wake_after.seconds = 60
        return decision


def recorded(directory: Path, revisions: range, *, file_bytes_max: int = 1 << 20) -> None:
    recorder = Recorder(directory, file_bytes_max)
    for revision in revisions:
        state = State()
        state.key.type, state.key.name = "api.Node", "worker-1"
        state.object.metadata.name, state.object.metadata.revision = "worker-1", revision
        decision = Sleeper().decide(state)
        decision.calls[0].delete.fence.term = 7  # the runtime's
        key = ObjectKey.from_proto(state.key)
        recorder(Decided(controller="sleeper", key=key, state=state, decision=decision))
    recorder.close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(rube, ["replay", *arguments])


def test_an_equal_controller_decides_as_it_did(tmp_path: Path) -> None:
    recorded(tmp_path / "decisions", range(1, 6))
    result = run(str(tmp_path / "decisions"), "--controllers", f"{__name__}:Sleeper")
    assert (result.exit_code, result.output) == (0, "sleeper: 5 decisions, all equal\n")


def test_the_first_decision_that_differs_is_shown_with_its_state(tmp_path: Path) -> None:
    recorded(tmp_path, range(1, 6))
    result = run(str(tmp_path), "--controllers", f"{__name__}:ChangedSleeper")
    assert result.exit_code == 1
    assert result.output.startswith("sleeper: decision 3, about api.Node/worker-1, differs (- recorded, + now)\n")
    for line in ("-  seconds: 3", "+  seconds: 60", "    revision: 3"):
        assert line in result.output.splitlines()
    assert "fence" not in result.output


def test_a_torn_end_costs_the_last_record_alone_and_recording_goes_on(tmp_path: Path) -> None:
    recorded(tmp_path, range(1, 4))
    file = tmp_path / "sleeper.decisions"
    whole = file.stat().st_size
    for left in range(whole - 1, whole - 20, -1):
        file.write_bytes(file.read_bytes()[:left])
        assert replay(tmp_path, Sleeper()).decisions == 2
    recorded(tmp_path, range(9, 11))
    assert replay(tmp_path, Sleeper()) == (4, None)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("place", [3, 30, 150])
def test_a_damaged_record_is_told_and_nothing_is_cut_off(
    place: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorded(tmp_path, range(1, 6))
    file = tmp_path / "sleeper.decisions"
    data = bytearray(file.read_bytes())
    data[place] ^= 0x10
    file.write_bytes(data)
    result = run(str(tmp_path), "--controllers", f"{__name__}:Sleeper")
    assert result.exit_code == 2
    assert f"{file} is damaged at byte " in result.output
    recorded(tmp_path, range(6, 8))
    assert file.read_bytes() == data
    assert "damaged" in caplog.text


def test_the_files_are_bounded(tmp_path: Path) -> None:
    recorded(tmp_path, range(1, 200), file_bytes_max=500)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sleeper.decisions", "sleeper.decisions.1"]
    assert all(path.stat().st_size < 700 for path in tmp_path.iterdir())
    assert 4 < replay(tmp_path, Sleeper()).decisions < 30


def test_a_disk_that_refuses_ends_the_recording_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sleeper.decisions").mkdir()
    recorded(tmp_path, range(1, 4))
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("the decisions of sleeper are recorded no more: ")


def test_another_controllers_record_is_named(tmp_path: Path) -> None:
    recorded(tmp_path, range(1, 2))
    result = run(str(tmp_path), "--controllers", "placement")
    assert result.exit_code == 2
    assert "has no decisions of 'placement': there are decisions of sleeper" in result.output
