"""`ructl history`, `rollback`, and `get` and `list` at a revision, against a real apiserver."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.real.test_ructl_apply import words, write

Ructl = Callable[..., tuple[int, str]]


def put(ructl: Ructl, directory: Path, namespace: str, description: str) -> int:
    """Puts the unit `web`; returns the revision."""
    code, text = ructl("put", str(write(directory, namespace, "web", description)))
    assert code == 0, text
    return int(text.split()[-1])


def test_history_shows_what_each_write_changed(ructl: Ructl, tmp_path: Path) -> None:
    first = put(ructl, tmp_path, "story", "one")
    second = put(ructl, tmp_path, "story", "two")
    where = ("-t", "Unit", "-n", "story", "web")
    rows = [line.split() for line in ructl("history", *where)[1].splitlines()]
    assert rows[0] == ["REVISION", "OPERATION", "GENERATION", "AGE", "CHANGES"]
    assert rows[1] == [str(second), "changed", "2", "-", "spec.description"]
    assert (rows[2][:3], rows[2][4]) == ([str(first), "created", "1"], "-")
    code, text = ructl("history", *where, "-o", "diff")
    assert code == 0
    assert f"--- story/web at revision {first}\n+++ story/web changed at revision {second}\n" in text
    assert '-    description: "one"\n+    description: "two"\n' in text
    found = json.loads(ructl("history", *where, "-o", "json")[1])["versions"]
    assert [(each["operation"], int(each["revision"])) for each in found] == [("CHANGED", second), ("CREATED", first)]
    assert f"revision: {second}\noperation: CHANGED\nobject {{" in ructl("history", *where, "-o", "textproto")[1]
    assert "operation: CHANGED" in ructl("history", *where, "-o", "yaml")[1]
    code, text = ructl("history", *where, "--limit", "1")
    assert (code, len(text.splitlines())) == (0, 3)
    assert "there are perhaps more: --limit 2" in text


def test_objects_are_shown_as_they_were(ructl: Ructl, tmp_path: Path) -> None:
    first = put(ructl, tmp_path, "then", "one")
    put(ructl, tmp_path, "then", "two")
    ructl("put", str(write(tmp_path, "then", "later")))
    where = ("-t", "Unit", "-n", "then")
    at_first = ("--at-revision", str(first))
    assert 'description: "one"' in ructl("get", *where, "web", *at_first)[1]
    assert ructl("list", *where, *at_first, "-o", "name") == (0, "api.systemd.Unit/then/web\n")
    code, text = ructl("get", *where, "later", *at_first)
    assert code == 1
    assert f"there was no unit 'later' in namespace 'then' at revision {first}" in text
    code, text = ructl("list", *where, "--at-revision", "999999")
    assert code == 1
    assert "revision 999999 is ahead of the store" in text


def test_a_rollback_puts_what_was_and_shows_the_difference(ructl: Ructl, tmp_path: Path) -> None:
    first = put(ructl, tmp_path, "back", "one")
    put(ructl, tmp_path, "back", "two")
    ructl("patch", "-t", "Unit", "-n", "back", "web", "metadata.labels.node=worker-1", "metadata.labels.app=other")
    back = ("rollback", "-t", "Unit", "-n", "back", "web", "--to-revision")
    code, text = ructl(*back, str(first), "--dry-run")
    assert code == 0
    assert '-    description: "two"\n+    description: "one"\n' in text
    assert text.endswith(f"would roll back back/web as it was at revision {first}\n")
    assert 'description: "two"' in ructl("get", "-t", "Unit", "-n", "back", "web")[1]
    code, text = ructl(*back, str(first))
    assert words(text)[-1] == "rolled back back/web as it was at"
    shown = ructl("get", "-t", "Unit", "-n", "back", "web", "-o", "spec")[1]
    assert 'description: "one"' in shown
    assert 'value: "worker-1"' in shown, "a unit stays where it is"
    assert 'value: "shop"' in shown
    assert "as it was at revision" in ructl(*back, str(first))[1]
    code, text = ructl(*back, str(first - 1))
    assert code == 1
    assert f"at revision {first - 1}: 'ructl history api.systemd.Unit/back/web' shows its versions" in text


def test_a_deleted_object_is_rolled_back_to_a_new_one(ructl: Ructl, tmp_path: Path) -> None:
    first = put(ructl, tmp_path, "gone", "one")
    ructl("delete", "-t", "Unit", "-n", "gone", "web")
    rows = [line.split() for line in ructl("history", "-t", "Unit", "-n", "gone", "web")[1].splitlines()]
    assert [row[1] for row in rows] == ["OPERATION", "deleted", "created"]
    code, text = ructl("history", "-t", "Unit", "web-that-never-was")
    assert code == 1
    assert "name the namespace of one that was deleted with -n" in text
    back = ("rollback", "api.systemd.Unit/gone/web", "--to-revision")
    code, text = ructl(*back, str(first), "--dry-run")
    assert (code, text.splitlines()[-1]) == (0, f"would create anew gone/web as it was at revision {first}")
    code, text = ructl(*back, str(first))
    assert words(text)[-1] == "created anew gone/web as it was at"
    assert 'description: "one"' in ructl("get", "-t", "Unit", "-n", "gone", "web")[1]


def test_an_object_made_anew_belongs_to_the_owners_that_are_there(ructl: Ructl, tmp_path: Path) -> None:
    def uid(name: str) -> str:
        code, text = ructl("get", "-t", "Unit", "-n", "kin", name, "-o", "json")
        assert code == 0, text
        return str(json.loads(text)["metadata"]["uid"])

    def delete(name: str) -> None:
        code, text = ructl("delete", "-t", "Unit", "-n", "kin", name)
        assert code == 0 or "not found" in text, text

    def roll_back(name: str, revision: str) -> str:
        code, text = ructl("rollback", "-t", "Unit", "-n", "kin", name, "--to-revision", revision)
        assert code == 0, text
        return text

    owner = write(tmp_path, "kin", "owner", "owner")
    first = ructl("put", str(owner))[1].split()[-1]
    child = tmp_path / "child.textproto"
    reference = f'owner_references {{ type: "api.systemd.Unit" namespace: "kin" name: "owner" uid: "{uid("owner")}" }}'
    spec = 'spec { [rube/api.systemd.Unit] { service { exec { start: "/bin/true" } } } }'
    child.write_text(f'metadata {{ namespace: "kin" name: "child" {reference} }} {spec}\n')
    code, text = ructl("put", str(child))
    assert code == 0, text
    born = text.split()[-1]
    delete("child")
    delete("owner")
    assert "its owner kin/owner is gone" in roll_back("child", born)
    assert "owner_references" not in ructl("get", "-t", "Unit", "-n", "kin", "child")[1]
    delete("child")
    roll_back("owner", first)
    roll_back("child", born)
    assert uid("owner") in ructl("get", "-t", "Unit", "-n", "kin", "child")[1]
