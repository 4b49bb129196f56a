"""The packed form, and how a client and a server agree on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

ASKED_KEY: Final = "rube-accept-encoding"
"""The key of a client's metadata that names what it unpacks, separated by commas."""
NAME: Final = "zstd-1"
"""zstd with the first dictionary."""
MARK: Final = b"\0"
"""The first byte of a packed message; one zstd frame follows, which says how long the message is. No protobuf message
begins with it: it would be the tag of a field 0."""
PACKED_BYTES_MIN: Final = 1024
"""Messages from here on are packed: a smaller one fits a network's packet as it is."""

DICTIONARY: Final = Path(__file__).with_name("textbook.dictionary")
DICTIONARY_ID: Final = 0x52554201


def asks(metadata: Any) -> bool:
    """Returns whether a call's metadata asks for packed responses."""
    return any(key == ASKED_KEY and NAME in value.replace(" ", "").split(",") for key, value in metadata or ())
