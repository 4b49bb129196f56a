"""The scenarios and examples that Rube ships, and its messages about what is not installed."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import click
import pytest

from rube.cli.main import rube
from rube.console import EXIT_ERROR, EXIT_USAGE, run_command
from rube.distribution import EXTRA_OF_MODULE, NAME, install_command
from rube.shipped import shipped_scenarios

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_scenarios_are_listed_with_their_descriptions(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(rube, "rube", ["sim", "--list"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"^partition +One of three nodes", listed, re.MULTILINE)
    assert set(re.findall(r"^([a-z-]+)", listed, re.MULTILINE)) == set(shipped_scenarios())


def test_a_scenario_that_is_nowhere_comes_with_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(rube, "rube", ["sim", "scenarios/partitoin.yaml"]) == EXIT_USAGE
    assert "did you mean 'partition'?" in capsys.readouterr().err


def test_examples_are_copied_and_overwrite_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(rube, "rube", ["examples"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert run_command(rube, "rube", ["examples", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "new" / file) for file in listed]
    for file in listed:
        assert (tmp_path / "new" / file).read_bytes() == (ROOT / "examples" / file).read_bytes()
    assert run_command(rube, "rube", ["examples", str(tmp_path / "new")]) == EXIT_ERROR
    assert f"{listed[0]} is there already" in capsys.readouterr().err


def test_a_module_of_an_extra_that_is_missing_is_named_with_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def command() -> None:
        raise ModuleNotFoundError("No module named 'grpc_health.v1'", name="grpc_health.v1")

    assert run_command(command, "rube", []) == EXIT_ERROR
    assert capsys.readouterr().err == (
        "rube: grpc_health is not installed, which this needs: pip install 'rube-plane[server]'\n"
    )


def test_a_module_that_no_extra_brings_is_a_mistake_in_the_code() -> None:
    @click.command()
    def command() -> None:
        raise ModuleNotFoundError("No module named 'rube.gone'", name="rube.gone")

    with pytest.raises(ModuleNotFoundError):
        run_command(command, "rube", [])


PACKAGES = {
    "dbus_fast": "dbus-fast",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "grpc_tools": "grpcio-tools",
}
"""How each module's package is called where the names differ."""


@pytest.mark.parametrize("module", EXTRA_OF_MODULE)
def test_the_extra_that_a_message_names_brings_the_module(module: str) -> None:
    requirements = PROJECT["optional-dependencies"][EXTRA_OF_MODULE[module]]
    assert any(re.match(rf"{PACKAGES.get(module, module)}\b", requirement) for requirement in requirements)


def test_messages_take_the_command_that_installs_from_one_place() -> None:
    assert PROJECT["name"] == NAME
    assert install_command("mysql") == "pip install 'rube-plane[mysql]'"
    for path in [*ROOT.glob("rube/**/*.py"), *ROOT.glob("ructl/**/*.py")]:
        if path.name != "distribution.py":
            assert "pip install 'rube" not in path.read_text(), path


def test_no_message_names_a_file_of_a_checkout() -> None:
    for path in [*ROOT.glob("rube/**/*.py"), *ROOT.glob("ructl/**/*.py")]:
        for text in _spoken(ast.parse(path.read_text())):
            assert not re.search(r"\b(docs/[\w/-]+\.md|scenarios/\w|examples/\w|\.venv|bench/\w)", text), (path, text)


def _spoken(tree: ast.Module) -> list[str]:
    """The strings that users may see: all but docstrings, save those of commands, which are their help pages."""
    helps = {id(node.body[0]) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and _is_command(node)}
    docs = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and id(node) not in helps
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


def _is_command(function: ast.FunctionDef) -> bool:
    return any(".command" in ast.unparse(one) or ".group" in ast.unparse(one) for one in function.decorator_list)
