"""The documentation's claims about the code: where things are, which messages and URLs there are."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from rube.group import MemberConfig
from rube.sim.scenario.judging import ALWAYS
from rube.sim.scenario.scenario_pb2 import Expectation, Fault
from rube.store.urls import FORMS, parse_store_url
from tests.doc_blocks import PAGES, ROOT

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
    if "/" in place or place == "Makefile":
        assert (ROOT / place).is_file()
        return
    module, _, name = place.rpartition(".")
    try:
        importlib.import_module(place)
    except ModuleNotFoundError:
        assert hasattr(importlib.import_module(module), name), f"{term}: there is no {place}"


NAMES = [name.strip() for term, _ in TERMS for name in term.split(",")]


def test_each_term_stands_in_the_glossary_once() -> None:
    assert len(NAMES) == len(set(NAMES)) > 50


# A page marks the word that it explains: "A **member** is an apiserver whose …".
_EXPLAINED = re.compile(r"\b(?:[Aa]n?|[Tt]he) \*\*([a-z][a-z -]*)\*\*")


def test_each_word_that_a_page_explains_stands_in_the_glossary() -> None:
    explained = {word for page in PAGES for word in _EXPLAINED.findall(page.read_text())}
    assert len(explained) > 5
    assert sorted(explained - set(NAMES)) == []


def test_each_package_has_a_word_in_the_glossary() -> None:
    """A reader who meets `rube/units` or `rube/sim/judges` finds what it is about."""
    packages = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for pattern in ("*/__init__.py", "sim/*/__init__.py", "store/*/__init__.py", "controllers/*/__init__.py")
        for path in (ROOT / "rube").glob(pattern)
    }
    places = [place.removesuffix(".proto").replace("/", ".") + "." for _, place in TERMS]
    assert sorted(name for name in packages if not any(place.startswith(name + ".") for place in places)) == []


def test_each_fault_and_check_of_a_scenario_has_a_row() -> None:
    page = (ROOT / "docs" / "reference" / "scenarios.md").read_text()
    fault, check = Fault.DESCRIPTOR.oneofs_by_name["fault"], Expectation.DESCRIPTOR.oneofs_by_name["check"]
    names = {*(field.name for field in (*fault.fields, *check.fields)), *ALWAYS}
    assert re.findall(r"^\| `(\w+)` \| ✓ \|", page, re.MULTILINE) == list(ALWAYS)
    assert sorted(name for name in names if not re.search(rf"^\| .*`{name}\b", page, re.MULTILINE)) == []


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


PACKAGES = sorted(path.parent for top in ("rube", "ructl") for path in (ROOT / top).rglob("__init__.py"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(ROOT)))
def test_the_modules_that_a_package_names_are_there(package: Path) -> None:
    """The rule is for packages whose docstring is a guide to their modules."""
    said = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    there = {path.stem for path in package.iterdir()} | {"ructl"}
    named = set(re.findall(r"`([a-z_]+)`", said))
    assert len(named & there) < 3 or sorted(named - there) == []


_LINKS = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_MADE = re.compile(r"reference/(commands|messages|python)/|scenario-schema.md|^(messages|python|commands)/")
_LINKING = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("README.md")]


@pytest.mark.parametrize("page", _LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere_in_a_checkout_too(page: Path) -> None:
    """Links to pages that are made with the site are left out."""
    links = [link for link in _LINKS.findall(page.read_text()) if "://" not in link and not _MADE.search(link)]
    assert [link for link in links if not (page.parent / link).exists()] == []


def _named(entries: list[Any]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        ((title, target),) = entry.items()
        if isinstance(target, list):
            yield from _named(target)
        else:
            yield title, target


def test_a_page_has_the_title_under_which_the_navigation_shows_it() -> None:
    titles = dict(_named(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert titles.pop("Home") == "index.md"
    pages = {title: ROOT / "docs" / target for title, target in titles.items() if (ROOT / "docs" / target).is_file()}
    assert len(pages) > 20
    assert [title for title, page in pages.items() if page.read_text().splitlines()[0] != f"# {title}"] == []


# Where each daemon keeps its data, in the units that `rube systemd-units` writes and in what docs and help pages say.
_PLACES = re.compile(
    r"/var/lib/(rubeapiserver(/(store|new)(\.db)?|/[abcd](\.db)?)?|rube(/rubelet\.sock|/units)?|rube-(agents|backups|controllers))"
    r"(?![\w./-])"
)
_SPEAKING = [*PAGES, *(ROOT / "rube" / "cli").rglob("*.*"), *(ROOT / "ructl").glob("*.py"), ROOT / "rube/store/urls.py"]


def test_data_has_one_place_in_docs_and_help_pages() -> None:
    other = [
        f"{page.relative_to(ROOT)}: {text[found.start() : found.end() + 30]}"
        for page in _SPEAKING
        if page.suffix in (".md", ".py", ".service")
        for text in [page.read_text()]
        for found in re.finditer(r"/var/lib/rube", text)
        if not _PLACES.match(text, found.start())
    ]
    assert other == []


@pytest.mark.parametrize("page", ["controllers", "replication"])
def test_an_election_takes_as_long_as_the_docs_say(page: str) -> None:
    election_s = MemberConfig(name="a", listen="127.0.0.1:0").election_s
    assert f"{election_s:g} to {2 * election_s:g} s" in (ROOT / "docs" / "howto" / f"{page}.md").read_text()


URLS = dict(re.findall(r"^\| `(\S+)` \|.*\| `(\S+)` \|$", STORES, re.MULTILINE))


def test_every_kind_of_store_is_in_the_table_with_a_url_that_is_one() -> None:
    assert set(URLS) == set(FORMS)
    for scheme, url in URLS.items():
        assert parse_store_url(url).scheme == scheme


def test_the_guarantees_name_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/reference/guarantees.md").read_text()))
    tests = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("examples/*/test_*.py")]
    found = {name for path in tests for name in re.findall(r"def (test_\w+)\(", path.read_text())}
    assert named - found == set()
    assert len(named) > 50
