"""A page of the site, and how texts become Markdown."""

from __future__ import annotations

from typing import NamedTuple


class Page(NamedTuple):
    """`path` is relative to docs/; `text` is Markdown that begins with a heading."""

    path: str
    text: str


def cell(text: str) -> str:
    """The text as a cell of a table: on one line, with what would end the cell or begin a tag escaped."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def fenced(text: str, language: str = "text") -> str:
    """A block of code, whose fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"
