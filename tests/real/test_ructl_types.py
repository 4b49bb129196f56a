"""Types of one's own, as a user of ructl brings them to a running apiserver."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from rube.cli.local import local_cluster, run

PROTO = """
syntax = "proto3";
package acme;
import "rube/api/resource.proto";
import "buf/validate/validate.proto";
import "google/protobuf/duration.proto";
import "kinds.proto";

// A backup of a directory, made again and again.
message Backup {
  option (api.resource) = {
    status: "acme.BackupStatus"
    short_names: "bk"
    columns { name: "SCHEDULE" path: "spec.schedule" }
    columns { name: "KEEP" path: "spec.keep" }
    columns { name: "KIND" path: "spec.kind" }
    transitions { id: "target-is-immutable" message: "the target cannot change" expression: "old.target == new.target" }
  };
  // When to run, such as `daily`.
  string schedule = 1 [(buf.validate.field).string.min_len = 1];
  string target = 2;
  google.protobuf.Duration keep = 3;
  Kind kind = 4;
}

message BackupStatus {
  string last = 1;
}
"""
KINDS = 'syntax = "proto3"; package acme; enum Kind { KIND_UNSPECIFIED = 0; FULL = 1; }'
OBJECT = """# proto-file: rube/api.proto
# proto-message: Object
metadata { namespace: "default" name: "db" }
spec { [rube/acme.Backup] { schedule: "SCHEDULE" target: "s3" keep { seconds: 90 } kind: FULL } }
"""

Ructl = Callable[..., Awaitable[tuple[int, str]]]


def with_ructl(directory: Path, body: Callable[[Ructl], Awaitable[None]]) -> None:
    async def main() -> None:
        async with local_cluster(directory) as cluster:

            async def ructl(*arguments: str) -> tuple[int, str]:
                code, output = await run([sys.executable, "-m", "ructl.main", "--server", cluster.address, *arguments])
                return code, output

            await body(ructl)

    asyncio.run(main())


def write(directory: Path, name: str, text: str) -> str:
    path = directory / name
    path.write_text(text)
    return str(path)


def test_a_type_is_pushed_used_changed_and_deleted(tmp_path: Path) -> None:
    write(tmp_path, "kinds.proto", KINDS)
    proto = write(tmp_path, "backup.proto", PROTO)
    obj = write(tmp_path, "db.textproto", OBJECT.replace("SCHEDULE", "daily"))
    as_yaml = 'metadata: {namespace: default, name: web}\nspec: {"@type": rube/acme.Backup, schedule: hourly}\n'

    async def body(ructl: Ructl) -> None:
        code, said = await ructl("put", obj)
        assert code == 1
        assert "unknown type 'acme.Backup'" in said
        assert await ructl("types", "push", "--dry-run", proto) == (0, "would push acme.Backup\n")
        assert await ructl("types", "push", proto) == (0, "pushed acme.Backup\n")
        assert await ructl("types", "push", proto) == (0, "unchanged acme.Backup\n")
        assert (await ructl("put", obj, write(tmp_path, "web.yaml", as_yaml)))[0] == 0
        code, said = await ructl("list", "-t", "bk")
        assert [line.split()[:5] for line in said.splitlines()] == [
            ["NAMESPACE", "NAME", "SCHEDULE", "KEEP", "KIND"],
            ["default", "db", "daily", "90s", "FULL"],
            ["default", "web", "hourly", "-", "-"],
        ]
        code, said = await ructl("describe", "-t", "bk", "-n", "default", "db")
        assert [line.split()[:2] for line in said.splitlines()[-3:]] == [
            ["schedule", "daily"],
            ["keep", "90s"],
            ["kind", "FULL"],
        ]
        code, said = await ructl("get", "-t", "Backup", "-n", "default", "db")
        assert 'target: "s3"' in said
        for output in ("json", "yaml"):
            code, said = await ructl("get", "-t", "acme.Backup", "-n", "default", "db", "-o", output)
            assert code == 0
            again = write(tmp_path, f"again.{output}", said)
            assert (await ructl("put", again))[1].startswith("unchanged default/db")
        assert "When to run, such as `daily`." in (await ructl("explain", "Backup.schedule"))[1]
        assert "FULL" in (await ructl("explain", "Backup.kind"))[1]
        assert (await ructl("wait", "-t", "bk", "-n", "default", "db", "--for", "spec.kind=FULL"))[0] == 0
        code, said = await ructl("types", "list")
        assert ["acme.Backup", "bk", "yes", "acme.BackupStatus", "pushed"] in [
            line.split() for line in said.splitlines()
        ]

        code, said = await ructl("put", write(tmp_path, "bad.textproto", OBJECT.replace("SCHEDULE", "")))
        assert code == 1
        assert "schedule" in said
        moved = OBJECT.replace("SCHEDULE", "daily").replace("s3", "nfs")
        assert "the target cannot change" in (await ructl("put", write(tmp_path, "moved.textproto", moved)))[1]

        odd = as_yaml.replace("hourly", "hourly, kind: FUL")
        assert "did you mean 'FULL'?" in (await ructl("put", write(tmp_path, "odd.yaml", odd)))[1]
        odd = as_yaml.replace("schedule", "scedule")
        assert "did you mean 'schedule'?" in (await ructl("put", write(tmp_path, "odd.yaml", odd)))[1]
        assert "When to run" in (await ructl("explain", "bk.schedule"))[1]

        # Another type of the same last part: none of the two is meant.
        twin = PROTO.replace("package acme", "package zoo").replace('"acme.', '"zoo.').replace('"bk"', '"zbk"')
        (tmp_path / "zoo").mkdir()
        write(tmp_path / "zoo", "kinds.proto", KINDS.replace("acme", "zoo"))
        assert await ructl("types", "push", write(tmp_path / "zoo", "twin.proto", twin)) == (0, "pushed zoo.Backup\n")
        code, said = await ructl("delete", "-t", "Backup", "-n", "default", "db")
        assert code == 2
        assert "'Backup' is the name of acme.Backup and of zoo.Backup: write the full name" in said
        assert (await ructl("types", "delete", "zoo.Backup"))[0] == 0

        # The next version: a field more is taken, one less is not.
        more = PROTO.replace("  Kind kind = 4;\n", "  Kind kind = 4;\n  bool dry = 5;\n")
        assert (await ructl("types", "diff", write(tmp_path, "backup.proto", more)))[0] == 1
        assert await ructl("types", "push", proto) == (0, "changed acme.Backup\n")
        assert (await ructl("types", "diff", proto)) == (0, "")
        write(tmp_path, "backup.proto", more.replace("spec.keep", "spec.kep"))
        code, said = await ructl("types", "push", proto)
        assert code == 1
        assert "ructl: acme.Backup: resource.columns[1].path" in said
        write(tmp_path, "backup.proto", more.replace("  string target = 2;\n", "").replace("target", "schedule"))
        code, said = await ructl("types", "push", proto)
        assert code == 1
        assert "FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED" in said
        code, said = await ructl("types", "push", "--allow-breaking", proto)
        assert code == 1
        assert "acme.Backup/default/db: it has field 2 in spec set" in said

        code, said = await ructl("types", "delete", "bk")
        assert code == 1
        assert "has 2 objects" in said
        assert (await ructl("delete", "-t", "bk", "-n", "default", "db", "web"))[0] == 0
        assert await ructl("types", "delete", "bk") == (0, "deleted acme.Backup\n")
        assert "is not a type of object" in (await ructl("list", "-t", "bk"))[1]

    with_ructl(tmp_path, body)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (PROTO.replace("string schedule", "strin schedule"), r'backup.proto:20:3: "strin" is not defined'),
        (
            PROTO.replace("option (api.resource)", "// option (api.resource)").split("message Backup {")[0],
            "no message has the option",
        ),
        (PROTO.replace("spec.keep", "spec.kep"), "no field 'kep'; did you mean 'keep'"),
        (PROTO.replace("old.target == new.target", "old.tarket == new.target"), "target-is-immutable"),
        (PROTO.replace('"acme.BackupStatus"', '"acme.Nothing"'), "acme.Nothing"),
        (PROTO.replace('short_names: "bk"', 'short_names: "unit"'), "'unit' is api.systemd.Unit's"),
        (PROTO.replace("package acme", "package api"), "api"),
    ],
)
def test_a_file_that_is_wrong_is_told_so(tmp_path: Path, text: str, error: str) -> None:
    write(tmp_path, "kinds.proto", KINDS if "package api" not in text else KINDS.replace("acme", "api"))
    proto = write(tmp_path, "backup.proto", text)

    async def body(ructl: Ructl) -> None:
        code, said = await ructl("types", "push", proto)
        assert code == 1, said
        assert error in said
        assert "Traceback" not in said

    with_ructl(tmp_path, body)
