"""The selector of `ructl delete`: `type = "api.systemd.Unit", metadata { name: "indexer" }`."""

from __future__ import annotations

from rube.api import Selector
from rube.api.textproto.reader import read


def parse_selector(text: str, *, filename: str = "selector") -> Selector:
    """Parses an api.Selector in text format, where `=` may replace `:` after a field's name.

    Raises InvalidArgumentError whose text begins `filename:line:column: `.
    """
    selector, _ = read(text.split("\n"), Selector, filename=filename, assignments=(":", "="))
    return selector
