"""The documentation's claims about the code: where things are, which messages and URLs there are."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

from rube.store.urls import FORMS, parse_store_url
from tests.doc_blocks import ROOT

GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text()
STORES = (ROOT / "docs" / "reference" / "stores.md").read_text()
_GAP = "…"


def rows(page: str) -> list[list[str]]:
    """The cells of all rows of all tables but their heads."""
    lines = [
        line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| term", "| message"))
    ]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


TERMS = [(row[0], row[-1].strip("`")) for row in rows(GLOSSARY)]
MESSAGES = [row[0].strip("`") for row in rows(TROUBLESHOOTING)]


@pytest.mark.parametrize(("term", "place"), TERMS)
def test_a_term_lives_where_the_glossary_says(term: str, place: str) -> None:
    if "/" in place:
        assert (ROOT / place).is_file()
        return
    module, _, name = place.rpartition(".")
    try:
        importlib.import_module(place)
    except ModuleNotFoundError:
        assert hasattr(importlib.import_module(module), name), f"{term}: there is no {place}"


def test_each_term_stands_in_the_glossary_once() -> None:
    names = [name.strip() for term, _ in TERMS for name in term.split(",")]
    assert len(names) == len(set(names)) > 50


@cache
def spoken() -> tuple[str, ...]:
    """All strings of the code; what an f-string fills in is a gap."""
    found = []
    for path in sorted([*ROOT.glob("rube/**/*.py"), *ROOT.glob("ructl/**/*.py")]):
        if "_pb2" not in path.name:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    found.append(
                        "".join(str(part.value) if isinstance(part, ast.Constant) else _GAP for part in node.values)
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return tuple(found)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_one_that_the_code_says(message: str) -> None:
    pattern = re.compile(".*".join(re.escape(part.strip()) for part in message.split(_GAP)), re.DOTALL)
    assert any(pattern.search(text) for text in spoken()), f"docs/troubleshooting.md: nothing says {message!r}"


_PATHS = re.compile(r"`((?:rube|ructl|tests|docs|scenarios|examples|bench|packaging|\.ci)(?:/[\w.-]+)*)`")


@pytest.mark.parametrize(
    "page", ["CONTRIBUTING.md", "docs/explanation/architecture.md", "docs/explanation/simulation.md"]
)
def test_files_that_a_page_names_are_there(page: str) -> None:
    named = _PATHS.findall((ROOT / page).read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert named


_LINKS = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_MADE = re.compile(r"reference/(commands|messages|python)/|scenario-schema.md|^(messages|python|commands)/")
_LINKING = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("README.md")]


@pytest.mark.parametrize("page", _LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere_in_a_checkout_too(page: Path) -> None:
    """But for those to pages that are made with the site."""
    links = [link for link in _LINKS.findall(page.read_text()) if "://" not in link and not _MADE.search(link)]
    assert [link for link in links if not (page.parent / link).exists()] == []


URLS = dict(re.findall(r"^\| `(\S+)` \|.*\| `(\S+)` \|$", STORES, re.MULTILINE))


def test_every_kind_of_store_is_in_the_table_with_a_url_that_is_one() -> None:
    assert set(URLS) == set(FORMS)
    for scheme, url in URLS.items():
        assert parse_store_url(url).scheme == scheme
