"""The files that driver and shim speak through: JSON, replaced atomically."""

from __future__ import annotations

import json
import os
from typing import Any

from rube.controllers.systemd.service.states import RESTING, State

UNIT, REQUEST, STATE = "unit.json", "request.json", "state.json"
LOCK, LOG, SHIM_LOG = "lock", "log", "shim.log"
FILE_BYTES_MAX = 4 * 1024 * 1024


def read_json(directory: str, name: str) -> dict[str, Any] | None:
    """The file's content; None if it is absent or damaged, which a power loss can leave behind."""
    try:
        with open(os.path.join(directory, name), "rb") as file:
            data = json.loads(file.read(FILE_BYTES_MAX))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def rests(state: dict[str, Any]) -> bool:
    """Whether a shim with this state (none at all: {}) has nothing left to do, and may be gone."""
    return not state or State(state["state"]) in RESTING


def write_json(directory: str, name: str, data: dict[str, Any], *, durable: bool = False) -> None:
    """Replaces the file; readers see the old content or the new. `durable`: it survives power loss on return.

    Each writer has its own temporary name, because a file has only one writer at a time.
    """
    path = os.path.join(directory, name)
    temporary = f"{path}.new"
    with open(temporary, "wb") as file:
        file.write(json.dumps(data, sort_keys=True).encode())
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(temporary, path)
    if durable:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
