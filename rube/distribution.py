"""The distribution that Rube is installed from: its name on a package index and its extras.

Every message that tells how to install something takes the command from here.
"""

from __future__ import annotations

from typing import Final

NAME: Final = "rube-plane"
EXTRA_OF_MODULE: Final = {
    "apsw": "sim",
    "asyncmy": "mysql",
    "dbus_fast": "systemd",
    "grpc_health": "server",
    "grpc_reflection": "server",
    "grpc_tools": "types",
    "h2corn": "server",
    "inotify_simple": "server",
    "protovalidate": "server",
    "rich": "sim",
    "rocksdict": "rocksdb",
    "simpy": "sim",
    "sortedcontainers": "server",
    "uvloop": "fast",
    "wasmtime": "wasm",
    "zstandard": "server",
}
"""The extra that brings a module which the base installation lacks."""


def install_command(extra: str) -> str:
    """The shell command that adds the extra to this installation: `pip install 'rube-plane[mysql]'`."""
    return f"pip install '{NAME}[{extra}]'"


def missing_module(error: ModuleNotFoundError) -> str | None:
    """The missing package and the remedy, where an extra brings it; otherwise None."""
    module = (error.name or "").partition(".")[0]
    extra = EXTRA_OF_MODULE.get(module)
    return None if extra is None else f"{module} is not installed, which this needs: {install_command(extra)}"
