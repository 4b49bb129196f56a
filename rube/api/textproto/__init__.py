"""Protobuf's text format, as users write it: every error says file:line:column and the remedy.

The library's own parser gives no place for an unknown type, packs an Any in no fixed order and overlooks some fields
that are set twice; so this package reads the library's tokens itself. The language is that of
https://protobuf.dev/reference/protobuf/textformat-spec/, without extensions and without skipping unknown fields.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rube.api.textproto.documents import Document, parse_documents
    from rube.api.textproto.printer import format
    from rube.api.textproto.reader import parse
    from rube.api.textproto.selector import parse_selector

__all__ = ["Document", "format", "parse", "parse_documents", "parse_selector"]

# Loaded on first use: a program that only prints needs no reader.
_MODULES = {
    "Document": "documents",
    "format": "printer",
    "parse": "reader",
    "parse_documents": "documents",
    "parse_selector": "selector",
}


if not TYPE_CHECKING:  # to a type checker it would mean that there is every name

    def __getattr__(name: str) -> Any:
        if (module := _MODULES.get(name)) is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        return value
