"""`ructl apply`, `diff -f`, `patch` and `get --show-owners` against a real apiserver."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Ructl = Callable[..., tuple[int, str]]
UNIT = """metadata {{ namespace: "{namespace}" name: "{name}" labels {{ key: "app" value: "shop" }} }}
spec {{ [rube/api.systemd.Unit] {{
  description: "{description}" service {{ exec {{ start: "/bin/sleep 9" }} environment {{ key: "PORT" value: "80" }} }}
}} }}
"""


def write(directory: Path, namespace: str, name: str, description: str = "one") -> Path:
    path = directory / "sub" / f"{name}.textproto"
    path.parent.mkdir(exist_ok=True)
    path.write_text(UNIT.format(namespace=namespace, name=name, description=description))
    return path


def words(text: str) -> list[str]:
    """The lines without revisions."""
    return [line.partition(" revision")[0] for line in text.splitlines()]


def test_a_directory_is_applied_diffed_and_pruned(ructl: Ructl, tmp_path: Path) -> None:
    write(tmp_path, "prune", "web")
    database = write(tmp_path, "prune", "db")
    where = ("-f", str(tmp_path))
    code, text = ructl("apply", *where, "--dry-run")
    assert (code, words(text)) == (0, ["would create prune/db", "would create prune/web"])
    code, text = ructl("apply", *where)
    assert (code, words(text)) == (0, ["created prune/db", "created prune/web"])
    assert words(ructl("apply", *where)[1]) == ["unchanged prune/db", "unchanged prune/web"]
    write(tmp_path, "prune", "web", "two")
    code, text = ructl("diff", *where)
    assert code == 1
    assert '-    description: "one"' in text
    assert '+    description: "two"' in text
    assert words(ructl("apply", *where)[1]) == ["unchanged prune/db", "changed prune/web"]
    assert ructl("diff", *where) == (0, "")
    database.unlink()
    prune = ("--prune", "-l", "app=shop")
    assert words(ructl("apply", *where, *prune, "--dry-run")[1]) == [
        "would not change prune/web",
        "would prune prune/db",
    ]
    # Another owner has no part of it.
    assert words(ructl("apply", *where, *prune, "--owner", "other", "--yes")[1]) == ["unchanged prune/web"]
    assert words(ructl("apply", *where, *prune, "--yes")[1]) == ["unchanged prune/web", "pruned prune/db"]
    code, text = ructl("get", "-t", "Unit", "-n", "prune", "db")
    assert code == 1
    assert "there is no unit 'db'" in text


def test_what_nobody_applied_is_not_pruned(ructl: Ructl, tmp_path: Path) -> None:
    assert ructl("put", str(write(tmp_path, "kept", "by-hand")))[0] == 0
    (tmp_path / "sub" / "by-hand.textproto").unlink()
    write(tmp_path, "kept", "web")
    code, text = ructl("apply", "-f", str(tmp_path), "--prune", "-l", "app=shop", "--yes")
    assert (code, words(text)) == (0, ["created kept/web"])


def test_a_conflict_names_owner_and_field_and_force_takes_over(ructl: Ructl, tmp_path: Path) -> None:
    path = str(write(tmp_path, "conflict", "web"))
    assert ructl("apply", "-f", path)[0] == 0
    patched = ructl("patch", "-t", "Unit", "conflict/web", "spec.service.environment.PORT=81", "metadata.labels.x=y")
    assert words(patched[1]) == ["changed conflict/web"]
    code, text = ructl("apply", "-f", path)
    assert code == 1
    assert "'ructl-patch' owns spec.service.environment.PORT" in text
    assert "--force" in text
    assert ructl("diff", "-f", path)[0] == 2
    code, text = ructl("diff", "-f", path, "--force")
    assert code == 1
    assert '+        value: "80"' in text
    assert words(ructl("apply", "-f", path, "--force")[1]) == ["changed conflict/web"]
    shown = ructl("get", "-t", "Unit", "-n", "conflict", "web", "--show-owners")[1]
    assert "# spec.service.environment.PORT  ructl\n" in shown
    assert "# metadata.labels.x              ructl-patch\n" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["spec.service.restrt=x"], 1, "did you mean 'restart'"),
        (["spec.service.restart=FOO"], 1, "Invalid enum value FOO"),
        (["spec.enabled=perhaps"], 1, "spec.enabled=perhaps"),
        (["status.message=x"], 1, "write spec.FIELD or metadata.FIELD"),
        (["metadata.uid=x"], 1, "the server sets it"),
        (["spec.after.x=y"], 1, "name the whole list"),
        ([], 2, "patch needs PATH=VALUE"),
    ],
)
def test_a_wrong_patch_says_what_is_wrong(
    ructl: Ructl, tmp_path: Path, arguments: list[str], code: int, error: str
) -> None:
    ructl("apply", "-f", str(write(tmp_path, "wrong", "web")))
    found, text = ructl("patch", "-t", "Unit", "-n", "wrong", "web", *arguments)
    assert (found, error in text) == (code, True), text


def test_several_keys_of_one_map_are_patched(ructl: Ructl, tmp_path: Path) -> None:
    ructl("put", str(write(tmp_path, "keys", "web")))
    wanted = ("metadata.labels.a=1", "metadata.labels.b=2", "metadata.labels.app=other")
    assert words(ructl("patch", "-t", "Unit", "keys/web", *wanted)[1]) == ["changed keys/web"]
    labels = json.loads(ructl("get", "-t", "Unit", "keys/web", "-o", "json")[1])["metadata"]["labels"]
    assert labels == {"a": "1", "b": "2", "app": "other"}


def test_values_of_all_kinds_are_patched(ructl: Ructl, tmp_path: Path) -> None:
    ructl("apply", "-f", str(write(tmp_path, "kinds", "web")))
    settings = [
        "spec.enabled=true",
        "spec.service.nice=-3",
        "spec.service.restart=ALWAYS",
        'spec.after=["a.target", "b.target"]',
        "metadata.annotations.`example.com/b`=3",
        'spec.start_limit={"burst": 4}',
        "spec.description=4",
    ]
    code, text = ructl(
        "patch", "unit", "kinds/web", *settings, "--unset", "spec.service.environment.PORT", "-o", "json"
    )
    assert code == 0, text
    for part in (
        '"enabled": true',
        '"nice": -3',
        '"ALWAYS"',
        '"b.target"',
        '"example.com/b": "3"',
        '"burst": 4',
        ': "4"',
    ):
        assert part in text
    assert "PORT" not in text


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["apply"], "Missing option '-f'"),
        (["apply", "-f", "x", "--prune"], "--prune and -l SELECTOR go together"),
        (["apply", "-f", "x", "-l", "a=b"], "--prune and -l SELECTOR go together"),
        (["apply", "-f", "x", "--yes"], "are for --prune"),
        (["apply", "-f", "-", "--prune", "-l", "a=b"], "add --yes"),
        (["diff", "-f", "x", "y"], "not both"),
        (["diff", "x", "--owner", "y"], "are for -f"),
        (["get", "-t", "Unit", "x", "--show-owners", "-o", "json"], "--show-owners is for text format"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(ructl: Ructl, arguments: list[str], error: str) -> None:
    code, text = ructl(*arguments)
    assert (code, error in text) == (2, True), text
