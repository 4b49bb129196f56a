"""Each code block of the documentation is of a language that some test reads, and reads as what it is said to be.

Shell blocks run in tests/real/test_documentation.py; `raft` blocks are compared with the examples by
tests/unit/raft/test_raft_command.py, and `text` blocks with what the simulator prints by tests/simulation.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from rube.api import NodePolicy, Type
from rube.api.textproto import parse, parse_documents
from rube.api.types.protos import types_of
from rube.api.types.pushed import checked_kind
from rube.compiler import compile_protos
from rube.installed import CONTROLLERS, NODE_CONTROLLERS, TYPES
from rube.raft.script import Interaction, parse_script
from rube.sim.scenario import load_text
from rube.units.policy.rules import policy_problem
from ructl.contexts import load_contexts
from tests.doc_blocks import PAGES, ROOT, Block, blocks, indented

LANGUAGES = {"shell", "proto", "prototext", "yaml", "python", "raft", "raft-shell", "text", "textproto", "toml", "sql"}
"""`sql` is MariaDB's, which tests/real/test_mariadb_shared.py runs in its own words."""
SCENARIO = {
    "name": "fragment",
    "duration": "200s",
    "workload": {"steps": [{"at": "1s", "put": {"name": "web-{i}", "count": 8, "node": "worker-2"}}]},
    "expect": [{"converged": {"within": "30s"}}],
}


def of(block: Block) -> str:
    return block.place


def test_every_language_is_read_by_a_test() -> None:
    assert {block.language for block in blocks()} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_stands_in_fences_where_tests_find_it(page: Path) -> None:
    assert indented(page) == []


@pytest.mark.parametrize("block", blocks("prototext"), ids=of)
def test_objects_parse(block: Block) -> None:
    assert parse_documents(block.text, block.place)


@pytest.mark.parametrize("block", blocks("textproto"), ids=of)
def test_policies_are_what_a_node_takes(block: Block) -> None:
    policy = parse(block.text, NodePolicy, filename=of(block))
    assert policy_problem(policy) == ""


@pytest.mark.parametrize("block", blocks("proto"), ids=of)
def test_types_are_what_a_server_takes(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "type.proto"
    path.write_text(block.text)
    (pushed,) = types_of(compile_protos([str(path)]), [str(path)])
    checked_kind(pushed.metadata.name, Type.FromString(pushed.spec.value))


@pytest.mark.parametrize("block", blocks("yaml"), ids=of)
def test_yaml_is_what_the_programs_take(block: Block, tmp_path: Path) -> None:
    value = yaml.safe_load(block.text)
    if "contexts" in value:
        path = tmp_path / "config.yaml"
        path.write_text(block.text)
        contexts = load_contexts(path)
        assert contexts.servers(contexts.current)
        return
    text = block.text
    if "name" not in value:
        cluster = {"nodes": {"count": 2}, **value.get("cluster", {"raft": {"members": 3}})}
        text = yaml.safe_dump({**SCENARIO, **value, "cluster": cluster}, sort_keys=False)
    assert load_text(text, block.place).scenario.name


@pytest.mark.parametrize("block", blocks("toml"), ids=of)
def test_entry_points_are_those_that_are_read(block: Block) -> None:
    groups = tomllib.loads(block.text)["project"]["entry-points"]
    assert groups.keys() <= {TYPES, CONTROLLERS, NODE_CONTROLLERS}


@pytest.mark.parametrize("block", blocks("python"), ids=of)
def test_python_runs(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for example in ("03-own-controller", "09-backup", "10-files"):
        monkeypatch.syspath_prepend(str(ROOT / "examples" / example))
    names: dict[str, object] = {}
    exec(PREAMBLES.get(block.page, ""), names)
    exec(compile("\n" * (block.line - 1) + block.text, block.page, "exec"), names)
    sys.modules.pop("agents", None)


PREAMBLES = {
    "docs/howto/controllers.md": "from agents import Agents\n",
    "docs/reference/scenarios.md": "from rube.sim.cluster.cluster import SimCluster\n"
    "from rube.sim.world.kernel import World\nfrom rube.sim.scenario import default_unit\n",
}
"""The lines that a page's block takes for granted, as its text says."""


@pytest.mark.parametrize("block", blocks("raft-shell"), ids=of)
def test_commands_of_the_raft_shell_run(block: Block) -> None:
    session = Interaction([])
    script = parse_script("\n".join(f"{line}\n----\n" for line in block.text.splitlines()), block.place)
    for directive in script.directives:
        session.handle(directive)


NAMED = re.compile(r"\bdocs/[\w/.-]+\.md\b|\bexamples/[\w/.-]+\.(?:py|yaml|textproto|txt)\b")
TREES = ("rube", "ructl", "tests", "bench", "docs", "examples", "scenarios", "packaging")


def test_every_page_that_the_tree_names_is_there() -> None:
    files = [
        path for tree in TREES for path in (ROOT / tree).rglob("*") if path.suffix in {".py", ".md", ".proto", ".yaml"}
    ]
    files += [*ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml"]
    missing = [
        f"{path.relative_to(ROOT)} names {page}"
        for path in files
        if "decisions" not in path.parts  # what was true when it was decided
        for page in sorted(set(NAMED.findall(path.read_text())))
        if not (ROOT / page).exists()
    ]
    assert missing == []
