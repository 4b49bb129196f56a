"""`rube new controller`: a project that passes its own tests, and names that it cannot have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rube.api.types.protos import types_of
from rube.cli.main import rube
from rube.compiler import compile_protos, python_classes

MODULE = "night_watch"


def new(*arguments: str) -> Result:
    return CliRunner().invoke(rube, ["new", "controller", *arguments])


def run(directory: Path, *command: str, path: str = "") -> str:
    found = subprocess.run(
        [sys.executable, *command],
        cwd=directory,
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("new") / "project"
    made = new("night-watch", str(directory), "--package", "acme.v1")
    assert made.exit_code == 0, made.output
    return directory


def test_it_passes_its_own_tests(project: Path) -> None:
    assert "5 passed" in run(project, "-m", "pytest", "-q")


def test_its_scenario_holds_and_repeats(project: Path) -> None:
    hashes = [run(project, "-m", "rube.cli.main", "sim", "chaos.yaml").split("trace sha256: ")[1] for _ in range(2)]
    assert hashes[0] == hashes[1]


def test_its_classes_are_those_of_its_proto_file(project: Path) -> None:
    proto = project / MODULE / f"{MODULE}.proto"
    assert (project / MODULE / f"{MODULE}_pb2.py").read_text() == python_classes(proto, project)
    compiled = compile_protos([str(proto)], [str(project)])
    assert [obj.metadata.name for obj in types_of(compiled, [str(proto)])] == ["acme.v1.NightWatch"]


def test_an_installed_package_is_known_by_its_name(project: Path, tmp_path: Path) -> None:
    """The package is built and installed; its scenario is in a directory without it."""
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    run(tmp_path, *pip, "--target", str(site), str(project))
    elsewhere.mkdir()
    scenario = (project / "chaos.yaml").read_text()
    by_name = scenario.replace(f"{MODULE}.controller:NightWatchController", "night-watch")
    (elsewhere / "by-name.yaml").write_text(by_name)
    (elsewhere / "alone.yaml").write_text(
        by_name.replace('  controllers: ["night-watch"]\n', "").partition("expect:")[0] + "expect: [watch_promises]\n"
    )
    (elsewhere / "objects.textproto").write_text((project / "objects.textproto").read_text())
    sim = ["-m", "rube.cli.main", "sim"]
    assert "controller" not in run(elsewhere, *sim, "by-name.yaml", path=str(site)).split("passed:")[1]
    alone = run(elsewhere, *sim, "alone.yaml", path=str(site))
    assert "a user pushes acme.v1.NightWatch" in alone, "the type of an object that no controller brings"
    with pytest.raises(AssertionError, match=r"there is no controller 'night-watch'"):
        run(elsewhere, *sim, "by-name.yaml")
    with pytest.raises(AssertionError, match=r"unknown type 'acme\.v1\.NightWatch'"):
        run(elsewhere, *sim, "alone.yaml")


def test_what_is_installed_beside_changes_no_trace(project: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "night_watch-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: night-watch\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[rube.types]\nnight-watch = {MODULE}.{MODULE}_pb2\n")
    (site / MODULE).symlink_to(project / MODULE)
    sim = ["-m", "rube.cli.main", "sim", "partition"]
    with_it, without = (run(tmp_path, *sim, path=path).split("trace sha256: ")[1] for path in (str(site), ""))
    assert with_it == without


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("night_watch.nowhere", "cannot be loaded: ModuleNotFoundError"),
        ("json", "is neither a module that protoc has generated nor a FileDescriptorSet"),
        ("google.protobuf.duration_pb2", r"no message has the option (api.resource)"),
    ],
)
def test_an_entry_point_that_brings_no_type_is_named_with_its_package(tmp_path: Path, value: str, says: str) -> None:
    info = tmp_path / "acme_backup-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-backup\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[rube.types]\nbackup = {value}\n")
    find = "from rube.installed import installed_types; installed_types().find('acme.Backup')"
    with pytest.raises(AssertionError) as caught:
        run(tmp_path, "-c", find, path=str(tmp_path))
    assert f"acme-backup: entry point rube.types 'backup' ({value})" in str(caught.value)
    assert says in str(caught.value)


def test_a_broken_package_hides_no_types_of_another(project: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    for name, value in (("a-broken", "nowhere.x_pb2"), ("night-watch", f"{MODULE}.{MODULE}_pb2")):
        info = site / f"{name.replace('-', '_')}-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[rube.types]\nbrings = {value}\n")
    (site / MODULE).symlink_to(project / MODULE)
    code = "from rube.installed import installed_types; print(*installed_types().types, *installed_types().errors)"
    found = run(tmp_path, "-c", code, path=str(site))
    assert found.startswith("acme.v1.NightWatch a-broken: entry point rube.types 'brings'")
    find = "from rube.installed import installed_types; installed_types().find('acme.v1.NightWatch')"
    run(tmp_path, "-c", find, path=str(site))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_controller.py").write_text("mine")
    made = new("greeter", str(tmp_path))
    assert made.exit_code == 1
    assert "test_controller.py is there already: name a directory that has no such file" in made.output
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["test_controller.py"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["Greeter"],
            "'Greeter' is no name for a controller: use 1 to 63 of a-z, 0-9 and '-', beginning with a letter",
        ),
        (["9lives"], "'9lives' is no name"),
        (["a" * 41], "is longer than 40 characters"),
        (["json"], "there is a Python module 'json' already: choose another name"),
        (["rube"], "there is a Python module 'rube' already"),
        (["class"], "there is a Python module 'class' already"),
        (["greeter", "--package", "Acme"], "--package 'Acme' is no .proto package"),
        (["greeter", "--package", "api.mine"], "--package 'api.mine' is reserved for Rube and protobuf"),
    ],
)
def test_a_name_that_some_part_cannot_have_is_refused(arguments: list[str], says: str) -> None:
    made = new(*arguments)
    assert made.exit_code == 2
    assert says in made.output
