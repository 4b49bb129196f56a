"""The audit log of a server in a simulated world: what is in it, and what happens where it cannot be written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rube.api import (
    AuditRequest,
    DeleteRequest,
    GetRequest,
    Metadata,
    Object,
    PutRequest,
    RenewLeaseRequest,
    Rule,
    Unit,
    WatchRequest,
)
from rube.api.errors import DataLossError
from rube.api.keys import ObjectKey
from rube.api.types import pack
from rube.server.audit.lines import verify
from rube.server.audit.log import AuditConfig, AuditLog, WhenFull
from rube.server.entrance.call import OUTCOME_S_MAX
from rube.server.writes import Intent, Outcome, Writer
from rube.sim.cluster.audit_files import SimAuditFiles
from rube.sim.world.disk import SimDisk
from tests.conformance.api.api_sites import Body, SimSite
from tests.simulation.rights_calls import UNIT, Caller, Cluster, cluster

WEB = ObjectKey(UNIT, "shop", "web")


class Audited:
    """A site whose servers have an audit log on its disk."""

    def __init__(self, **config: Any) -> None:
        self.site = SimSite()
        self.disk: SimDisk = self.site.host.storage._disk  # type: ignore[attr-defined]
        self.files = SimAuditFiles(self.disk, "/log/audit")
        self.config = AuditConfig(**config)
        self.left: list[tuple[str, bytes]] = []

    def log(self) -> AuditLog:
        return AuditLog(self.site.host.clock, self.files, "a", self.config)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for _, data in self.contents() for line in data.split(b"\n")[:-1]]

    def calls(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if "kind" not in line]

    def run(self, main: Body) -> None:
        async def body() -> None:
            await main()
            self.left = self.contents()

        self.site.run(body)

    def contents(self) -> list[tuple[str, bytes]]:
        """Returns the files: after the run, as they were at its end."""
        with self.disk.looking():
            return self.left or [(str(part), self.files.read(part, 0, 1 << 30)) for part in self.files.parts()]


def unit(name: str, description: str = "secret", **labels: str) -> Object:
    made = Object(metadata=Metadata(namespace="shop", name=name), spec=pack(Unit(description=description)))
    made.metadata.labels.update(labels)
    return made


async def read(caller: Caller, **request: Any) -> Any:
    """Returns the lines that a caller is given, or the code of its refusal."""
    found = []
    call = caller.rights.Audit(AuditRequest(**request), metadata=caller.metadata)
    async for response in call:
        found += [json.loads(line) for line in response.lines]
    return found


def test_each_write_and_each_refusal_has_a_line_with_who_what_by_which_rule_and_revisions() -> None:
    audited = Audited()

    async def main() -> None:
        async with cluster(audited.site, audit=audited.log()) as served:
            ada = served.caller("user/ada", "tills")
            first = await served.put(unit("web", team="a"))
            second = await served.put(unit("web", "other secret", team="a"))
            await served.root.ask(served.root.api.Put, PutRequest(objects=[unit("web")], validate_only=True))
            await ada.ask(ada.api.Get, GetRequest(key=WEB.to_proto()))
            await served.root.ask(served.root.api.Get, GetRequest(key=WEB.to_proto()))
            gone = await served.root.ask(served.root.api.Delete, DeleteRequest(keys=[WEB.to_proto()]))
            await served.root.ask(served.root.api.Delete, DeleteRequest(keys=[WEB.to_proto()]))
            web = {"type": UNIT, "namespace": "shop", "name": "web"}
            rule = ["rules[0] of role admin, by group admins"]
            told = [(c["subject"], c["verb"], c["objects"], c.get("rules"), c["code"]) for c in audited.calls()]
            assert told == [
                ("user/root", "put", [{**web, "newRevision": first.revision}], rule, "OK"),
                (
                    "user/root",
                    "put",
                    [{**web, "oldRevision": first.revision, "newRevision": second.revision}],
                    rule,
                    "OK",
                ),
                ("user/root", "put", [{**web, "oldRevision": second.revision}], rule, "OK"),
                ("user/ada", "get", [web], None, "PERMISSION_DENIED"),
                (
                    "user/root",
                    "delete",
                    [{**web, "oldRevision": second.revision, "newRevision": gone.revision, "deleted": True}],
                    rule,
                    "OK",
                ),
                ("user/root", "delete", [web], rule, "NOT_FOUND"),
            ]
            assert audited.calls()[2]["validateOnly"]
            assert all(call["address"] for call in audited.calls())

    audited.run(main)
    assert b"secret" not in b"".join(data for _, data in audited.contents())
    verify(audited.contents())


@pytest.mark.parametrize("answers", [True, False])
def test_a_write_whose_caller_leaves_has_its_outcome_or_says_that_it_is_unknown(
    answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    audited, write = Audited(), Writer.write

    async def slow(self: Writer, intent: Intent) -> Outcome:
        outcome = await write(self, intent)  # committed, and the caller leaves before that is known
        await audited.site.host.clock.sleep(1 if answers else 2 * OUTCOME_S_MAX)
        return outcome

    async def main() -> None:
        async with cluster(audited.site, audit=audited.log()) as served:
            monkeypatch.setattr(Writer, "write", slow)
            call = served.root.api.Put(PutRequest(objects=[unit("web")]), metadata=served.root.metadata)
            await audited.site.host.clock.sleep(0.5)
            call.cancel()
            await audited.site.host.clock.sleep(OUTCOME_S_MAX + 1)
            found = await served.root.ask(served.root.api.Get, GetRequest(key=WEB.to_proto()))
            (line,) = audited.calls()
            told = (line["code"], line["objects"][0].get("newRevision"))
            assert told == (("CANCELLED", found.object.metadata.revision) if answers else ("UNKNOWN", None))

    audited.run(main)


def test_a_rule_with_a_condition_is_named_where_it_decides() -> None:
    audited = Audited(reads=True)

    async def main() -> None:
        async with cluster(audited.site, audit=audited.log()) as served:
            rules = (
                Rule(verbs=["put", "get"], types=[UNIT], label_selector="team=b"),
                Rule(verbs=["put", "get"], types=[UNIT], condition="new.metadata.labels['team'] == 'a'"),
            )
            await served.bind("some", "user/ada", *rules)
            ada = served.caller("user/ada")
            assert not isinstance(await ada.ask(ada.api.Put, PutRequest(objects=[unit("web", team="a")])), str)
            await ada.first(ada.api.Watch, WatchRequest(type=UNIT))
            await ada.ask(ada.api.RenewLease, RenewLeaseRequest(namespace="node-leases", name="n1"))
            told = [(call["verb"], call.get("rules"), call["code"]) for call in audited.calls()[1:]]
            second = "rules[1] of role some, by binding some"
            assert told == [
                ("put", [second], "OK"),
                ("watch", None, "PERMISSION_DENIED"),
                ("renew", None, "PERMISSION_DENIED"),
            ]

    audited.run(main)


def test_callers_with_the_right_to_it_read_the_log_by_time_caller_verb_and_object_and_follow_it() -> None:
    audited = Audited(part_bytes_max=500)

    async def main() -> None:
        async with cluster(audited.site, audit=audited.log()) as served:
            ada, clock = served.caller("user/ada"), audited.site.host.clock
            for name in ("web", "db", "web2"):
                await served.put(unit(name))
            await clock.sleep(10)
            call = served.root.rights.Audit(
                AuditRequest(follow=True, subjects=["user/a*"]), metadata=served.root.metadata
            )
            await ada.ask(ada.api.Get, GetRequest(key=WEB.to_proto()))
            while not (lines := (await call.read()).lines):
                pass
            assert json.loads(lines[0])["subject"] == "user/ada"
            call.cancel()
            assert len(audited.files.parts()) > 2
            whole = [line["sequence"] for line in await read(served.root)]
            assert whole[: len(whole)] == list(range(1, len(whole) + 1))
            assert [line["objects"][0]["name"] for line in await read(served.root, name="db", types=[UNIT])] == ["db"]
            assert len(await read(served.root, verbs=["put"])) == 3
            assert [line["code"] for line in await read(served.root, failed=True)] == ["PERMISSION_DENIED"]
            since = AuditRequest()
            since.since.FromNanoseconds(clock.now_ns() - 5 * 10**9)
            assert "put" not in [line.get("verb") for line in await read(served.root, since=since.since)]
            assert (await read(served.root, after_sequence=whole[2]))[0]["sequence"] == whole[3]
            assert await ada.first(ada.rights.Audit, AuditRequest()) == "PERMISSION_DENIED"

    audited.run(main)


def test_the_oldest_files_go_and_the_chain_of_the_others_is_whole() -> None:
    audited = Audited(part_bytes_max=1_000, parts_max=3)

    async def main() -> None:
        async with cluster(audited.site, audit=audited.log()) as served:
            for number in range(20):
                await served.put(unit(f"web{number}"))

    audited.run(main)
    assert len(audited.left) == 3
    assert verify(audited.left).first == int(audited.left[0][0]) > 1


@pytest.mark.parametrize("damage", ["change", "remove", "swap", "cut", "join"])
def test_a_line_that_is_changed_removed_or_moved_is_noticed(damage: str) -> None:
    audited = Audited()

    async def main() -> None:
        async with cluster(audited.site, audit=audited.log()) as served:
            for number in range(5):
                await served.put(unit(f"web{number}"))

    audited.run(main)
    ((name, content),) = audited.contents()
    lines = content.splitlines(keepends=True)
    verify([(name, b"".join(lines))])
    match damage:
        case "change":
            lines[2] = lines[2].replace(b"web1", b"web9")
        case "remove":
            del lines[2]
        case "swap":
            lines[2], lines[3] = lines[3], lines[2]
        case "cut":
            lines[-1] = lines[-1][:-10]
        case "join":
            lines[2:4] = [lines[2].rstrip() + lines[3]]
    with pytest.raises(DataLossError, match=rf"{name}:\d"):
        verify([(name, b"".join(lines))])


@pytest.mark.parametrize("when_full", list(WhenFull))
def test_on_a_full_disk_writes_are_refused_or_counted_as_it_was_chosen_and_reads_go_on(when_full: WhenFull) -> None:
    audited = Audited(when_full=when_full, waiting_lines_max=2)

    async def main() -> None:
        log = audited.log()
        async with cluster(audited.site, audit=log) as served:
            await served.put(unit("web"))
            append, full = audited.files.append, OSError(28, "No space left on device")

            def refuse(line: bytes) -> None:
                raise full

            audited.files.append = refuse  # type: ignore[method-assign]
            answers = [await _try_put(served, f"new{number}") for number in range(5)]
            assert not isinstance(await served.root.ask(served.root.api.Get, GetRequest(key=WEB.to_proto())), str)
            audited.files.append = append  # type: ignore[method-assign]
            await served.put(unit("after"))
            if when_full is WhenFull.REFUSE:
                # The first was carried out before its line could not be written; the line comes later.
                assert answers == ["", *["RESOURCE_EXHAUSTED"] * 4]
                assert [call["objects"][0]["name"] for call in audited.calls()] == ["web", "new0", "after"]
            else:
                assert answers == [""] * 5
                assert [call["objects"][0]["name"] for call in audited.calls()] == ["web", "new3", "new4", "after"]
                assert [line["lostLines"] for line in audited.lines() if "lostLines" in line] == [3]

    audited.run(main)
    verify(audited.contents())


async def _try_put(served: Cluster, name: str) -> str:
    answer = await served.root.ask(served.root.api.Put, PutRequest(objects=[unit(name)]))
    return answer if isinstance(answer, str) else ""


def test_a_server_that_starts_again_goes_on_after_a_torn_line_and_says_so() -> None:
    audited = Audited()

    async def main() -> None:
        for number in range(3):
            async with cluster(audited.site, audit=audited.log()) as served:
                await served.put(unit(f"web{number}"))
            if number == 1:
                part = audited.files.parts()[-1]
                audited.files.append(b'{"sequence":9,"to')
                assert audited.files.parts() == [part]

    audited.run(main)
    assert [line.get("tornBytes") for line in audited.lines() if line.get("kind") == "START"] == [None, None, 17]
    assert verify(audited.contents()).first == 1


def test_a_flood_of_callers_without_an_identity_has_a_line_in_ten_seconds() -> None:
    audited = Audited()

    async def main() -> None:
        async with cluster(audited.site, audit=audited.log()) as served:
            nobody, clock = served.caller("anonymous"), audited.site.host.clock
            for _ in range(50):
                await nobody.ask(nobody.api.Get, GetRequest(key=WEB.to_proto()))
            await clock.sleep(11)
            await nobody.ask(nobody.api.Get, GetRequest(key=WEB.to_proto()))

    audited.run(main)
    assert [call.get("repeatedTimes", 0) for call in audited.calls()] == [0, 49]


def test_lines_are_durable_after_a_second() -> None:
    audited = Audited()

    async def main() -> None:
        async with cluster(audited.site, audit=audited.log()) as served:
            await served.put(unit("old"))
            await audited.site.host.clock.sleep(2)
            (part,) = audited.files.parts()
            assert b'"name":"old"' in audited.disk.durable(f"/log/audit.{part}")

    audited.run(main)
