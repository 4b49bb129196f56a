"""Protobuf's text format, as people write it: every error says file:line:column and the remedy.

The library's own parser gives no place for an unknown type, packs an Any in no fixed order and overlooks some fields
that are set twice; so this reads the library's tokens itself. The language is that of
https://protobuf.dev/reference/protobuf/textformat-spec/, without extensions and without skipping what is unknown.
"""

from rube.api.textproto.documents import Document, parse_documents
from rube.api.textproto.printer import format
from rube.api.textproto.reader import parse
from rube.api.textproto.selector import parse_selector

__all__ = ["Document", "format", "parse", "parse_documents", "parse_selector"]
