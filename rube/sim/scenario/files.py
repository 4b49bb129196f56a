"""The files of a scenario, read before its world begins."""

from __future__ import annotations

from pathlib import Path

from rube.api.errors import InvalidArgumentError, NotFoundError

FILE_BYTES_MAX = 4 * 1024 * 1024


def read_bytes(path: Path) -> bytes:
    """Raises NotFoundError, and InvalidArgumentError for a file that cannot be read or is too large."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)  # a device has no size, and no end
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such file") from error
    except OSError as error:
        raise InvalidArgumentError(f"{path}: cannot be read: {error}") from error
    if len(data) > FILE_BYTES_MAX:
        raise InvalidArgumentError(f"{path}: larger than {FILE_BYTES_MAX} bytes: not a scenario")
    return data


def read_text(path: Path) -> str:
    """Raises the errors of `read_bytes`, and InvalidArgumentError for what is no UTF-8."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path}: cannot be read: {error}") from error
