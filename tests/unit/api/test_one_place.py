"""Messages and stubs are imported from `rube.api`, all of them."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from rube import api

PACKAGE = Path(api.__file__).parent.parent
GENERATED = {
    f"rube.{path.relative_to(PACKAGE).with_suffix('').as_posix().replace('/', '.')}"
    for path in [*PACKAGE.glob("*_pb2*.py"), *PACKAGE.glob("api/*_pb2*.py")]
}


@pytest.mark.parametrize("name", [name for name in sorted(api._MODULES) if name.endswith("_pb2")])
def test_every_message_of_a_proto_is_there(name: str) -> None:
    module = importlib.import_module(name)
    assert module.DESCRIPTOR.message_types_by_name
    renamed = {own: public for public, own in api._OWN_NAMES.items() if api._MODULE_OF[public] == name}
    for message in module.DESCRIPTOR.message_types_by_name:
        assert getattr(api, renamed.get(message, message)) is getattr(module, message)


@pytest.mark.parametrize("name", [name for name in sorted(api._MODULES) if name.endswith("_pb2_grpc")])
def test_every_stub_and_servicer_is_there(name: str) -> None:
    module = importlib.import_module(name)
    found = [each for each in vars(module) if each.endswith(("Stub", "Servicer", "_to_server"))]
    assert found
    assert len(found) % 3 == 0, found
    for each in found:
        assert getattr(api, each) is getattr(module, each)


def test_type_checkers_see_the_modules_that_there_are() -> None:
    tree = ast.parse(Path(api.__file__).read_text())
    stars = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"]
    renamed = {api._MODULE_OF[public] for public in api._OWN_NAMES}
    assert {*stars, *renamed} == set(api._MODULES) == GENERATED


def test_every_name_is_one_of_its_module() -> None:
    for name, module in api._MODULE_OF.items():
        own_name = api._OWN_NAMES.get(name, name.replace("AsyncStub", "Stub"))
        assert getattr(api, name) is getattr(importlib.import_module(module), own_name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = api.Nothing  # type: ignore[attr-defined]


def test_only_what_is_named_is_loaded() -> None:
    code = "import sys; from rube.api import Object; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "rube.api_pb2" in loaded
    assert not {"rube.api.systemd_pb2", "grpc"} & set(loaded)
