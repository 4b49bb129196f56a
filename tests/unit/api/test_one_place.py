"""Messages and stubs are imported from `rube.api`, all of them."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from rube import api

MODULES = ["api_pb2", "api.cluster_pb2", "api.controller_pb2", "api.memory_pb2", "api.nodes_pb2", "api.systemd_pb2"]


@pytest.mark.parametrize("name", MODULES)
def test_every_message_of_a_proto_is_there(name: str) -> None:
    module = importlib.import_module(f"rube.{name}")
    assert module.DESCRIPTOR.message_types_by_name
    for message in module.DESCRIPTOR.message_types_by_name:
        assert getattr(api, message) is getattr(module, message)


@pytest.mark.parametrize("name", ["api_pb2_grpc", "api.nodes_pb2_grpc"])
def test_every_stub_and_servicer_is_there(name: str) -> None:
    module = importlib.import_module(f"rube.{name}")
    found = [each for each in vars(module) if each.endswith(("Stub", "Servicer", "_to_server"))]
    assert len(found) == 3
    for each in found:
        assert getattr(api, each) is getattr(module, each)


def test_what_type_checkers_see_is_what_there_is() -> None:
    tree = ast.parse(Path(api.__file__).read_text())
    seen = {
        (alias.name, node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith(("_pb2", "_pb2_grpc"))
        for alias in node.names
    }
    assert seen == set(api._MODULE_OF.items())


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = api.Nothing


def test_only_what_is_named_is_loaded() -> None:
    code = "import sys; from rube.api import Object; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "rube.api_pb2" in loaded
    assert not {"rube.api.systemd_pb2", "grpc"} & set(loaded)
