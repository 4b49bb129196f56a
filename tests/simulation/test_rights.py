"""Rights: every verb on every type by every kind of caller, and the reach of a compromised node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass

from rube import api_pb2
from rube.api import (
    Binding,
    CoreEvent,
    DeleteRequest,
    ExplainRequest,
    Fence,
    GetRequest,
    ListRequest,
    LogsRequest,
    LogsResponse,
    Metadata,
    NodeReply,
    NodeRequestsRequest,
    NodesStub,
    Object,
    Precondition,
    PutRequest,
    RenewLeaseRequest,
    Role,
    Rule,
    Unit,
    WatchRequest,
    WhoAmIRequest,
    auth_pb2,
    nodes_pb2,
)
from rube.api.keys import ObjectKey, key_of
from rube.api.types import pack
from rube.server.rights.checks import role_violations
from rube.server.rights.grants import READ_VERBS, VERBS
from tests.conformance.api.api_sites import SimSite, Watched
from tests.pushed_types import backup, backup_type
from tests.simulation.rights_calls import (
    BINDING,
    EVENT,
    LEASE,
    NAMESPACE,
    NODE,
    ROLE,
    STATUSES,
    UNIT,
    Caller,
    Cluster,
    cluster,
    obj,
)

DENIED: Final = ("PERMISSION_DENIED", "UNAUTHENTICATED")
OWN, OTHER, FREE = (ObjectKey(UNIT, "system", name) for name in ("own", "other", "free"))
DEV, ABSENT = ObjectKey(UNIT, "dev", "web"), ObjectKey(UNIT, "system", "absent")
ME, PEER = ObjectKey(NODE, "", "n1"), ObjectKey(NODE, "", "n2")
MINE, THEIRS = ObjectKey(LEASE, "node-leases", "n1"), ObjectKey(LEASE, "node-leases", "n2")
HAPPENED = ObjectKey(EVENT, "system", "happened")
OBJECTS: Final[Mapping[ObjectKey, Mapping[str, str]]] = {
    OWN: {"node": "n1"},
    OTHER: {"node": "n2"},
    FREE: {"team": "a"},
    DEV: {},
    ME: {},
    PEER: {},
    MINE: {},
    THEIRS: {},
    HAPPENED: {},
    ObjectKey(NAMESPACE, "", "system"): {},
    ObjectKey(ROLE, "", "some"): {},
    ObjectKey(BINDING, "", "some"): {},
}
TEAM: Final = Rule(
    verbs=[*READ_VERBS, "put", "patch", "delete"], types=[UNIT], namespaces=["system"], label_selector="team=a"
)


def may(caller: str, verb: str, key: ObjectKey) -> bool:
    """Returns whether a caller may do that to an object, by a table that is written apart from the program's."""
    match caller:
        case "user/root" | "member/m1":
            return True
        case "user/reader":
            return verb in READ_VERBS
        case "user/dev":
            return verb in READ_VERBS and key.namespace == "dev"
        case "user/team":
            return verb in TEAM.verbs and key == FREE
        case "controller/health":
            return (key.type == NODE and verb in ("get", "list", "watch", "update_status")) or (
                key.type == LEASE and verb in ("get", "list", "watch") and key.namespace == "node-leases"
            )
        case "node/n1":
            if key == OWN:
                return verb in ("get", "list", "watch", "history", "update_status")
            return (key == ME and verb in ("get", "put", "update_status")) or (
                key == MINE and verb in ("get", "put", "renew")
            )
    return False


CALLERS: Final = (
    "user/root",
    "user/reader",
    "user/dev",
    "user/team",
    "user/nobody",
    "controller/health",
    "controller/nothing",
    "node/n1",
    "node/n9",
    "member/m1",
    "anonymous",
)


async def filled(site: Cluster) -> None:
    await site.put(*(obj(key, labels) for key, labels in OBJECTS.items() if key.type not in (ROLE, BINDING)))
    await site.put(*(obj(key) for key in OBJECTS if key.type in (ROLE, BINDING)))
    await site.bind("team", "user/team", TEAM)
    await site.bind("dev", "user/dev", role="read-only", namespaces=("dev",))
    await site.bind(
        "health",
        "controller/health",
        Rule(verbs=["get", "list", "watch", "update_status"], types=[NODE], names=["n*"]),
        Rule(verbs=["get", "list", "watch"], types=[LEASE], namespaces=["node-leases"]),
    )


def groups_of(caller: str) -> str:
    return {"user/root": "admins", "user/reader": "readers"}.get(caller, "")


def names(response: Any) -> list[str]:
    """Returns the names of the objects in the answer to a list or a watch."""
    if hasattr(response, "items"):
        return [each.metadata.name for each in response.items]
    return [event.update.metadata.name for event in response.events if event.HasField("update")]


@pytest.mark.parametrize("name", CALLERS)
def test_every_verb_on_every_type_is_allowed_or_denied_as_the_table_says(name: str) -> None:
    site, wrong = SimSite(), []

    async def main() -> None:
        async with cluster(site) as served:
            await filled(served)
            caller = served.caller(name, groups_of(name))
            for key, labels in OBJECTS.items():
                for verb in VERBS:
                    if (verb == "update_status" and key.type not in STATUSES) or (verb == "renew") != (
                        key.type == LEASE and verb == "renew"
                    ):
                        continue
                    answer = await caller.do(verb, key, labels)
                    allowed = answer not in DENIED
                    if verb in ("list", "watch") and allowed:
                        allowed = key.name in names(answer)
                    if verb == "logs" and key.type != UNIT and not isinstance(answer, str):
                        continue
                    if allowed != may(name, verb, key):
                        wrong.append((verb, str(key), answer, caller.heard[-1]))
                    if not allowed:
                        assert b"secret" not in caller.heard[-1], (verb, key)

    site.run(main)
    assert wrong == []


def test_a_node_that_was_taken_over_learns_and_changes_nothing_that_is_not_its_own() -> None:
    site = SimSite()

    async def main() -> None:
        async with cluster(site) as served:
            await filled(served)
            before = await stored(served)
            node = served.caller("node/n1")
            for key in (OTHER, FREE, DEV, PEER, THEIRS, *list(OBJECTS)[8:]):
                for verb in VERBS:
                    if (verb == "update_status" and key.type not in STATUSES) or (
                        verb == "renew" and key.type != LEASE
                    ):
                        continue
                    answer = await node.do(verb, key, {"node": "n1"}, dry=False)
                    assert answer in DENIED or (verb in ("list", "watch") and names(answer) == []), (verb, key)
            await pry(node)
            assert await stored(served) == before
            assert not [heard for heard in node.heard if b"secret" in heard and b"own" not in heard]
            assert (await node.do("update_status", OWN, dry=False)).metadata.name == "own"

    site.run(main)


async def pry(node: Caller) -> None:
    """Tries every other way of a node to what is not its own."""
    own, api = obj(OWN, {"node": "n1"}), node.api
    probe = Precondition(key=OTHER.to_proto(), revision=1)
    assert await node.ask(api.Put, PutRequest(objects=[obj(ME)], preconditions=[probe])) in DENIED
    fence = Fence(group="rube-controllers", term=1_000)
    assert await node.ask(api.Put, PutRequest(objects=[obj(ME)], fence=fence)) in DENIED
    assert await node.ask(api.Put, PutRequest(objects=[obj(ME), own])) in DENIED
    renewal = RenewLeaseRequest(namespace="node-leases", name="n1", holder="secret", related=PEER.to_proto())
    renewal.renew_time.seconds = 1
    assert await node.ask(api.RenewLease, renewal) in DENIED
    everything = await node.ask(api.List, ListRequest(type="*"))
    assert names(everything) == ["own"]
    assert names(await node.first(api.Watch, WatchRequest(type="*", send_initial=True))) == ["own"]
    assert names(await node.first(api.Watch, WatchRequest(type=NODE, send_initial=True))) == []
    requests: Any = NodesStub(node.channel)
    assert await node.first(requests.Requests, NodeRequestsRequest(node="n2", instance_id="secret")) in DENIED
    assert await node.ask(requests.Reply, NodeReply(node="n2", instance_id="secret", end=b"")) in DENIED
    about_other = obj(ObjectKey(EVENT, "system", "made-up"))
    assert await node.ask(api.Put, PutRequest(objects=[about_other])) in DENIED
    assert (await node.ask(node.rights.Explain, ExplainRequest(subject="user/root", verb="get", type=UNIT))) in DENIED


async def stored(site: Cluster) -> dict[str, bytes]:
    """Returns the bytes of all objects."""
    response = await site.root.ask(site.root.api.List, ListRequest(type="*"))
    return {str(key_of(each)): each.SerializeToString(deterministic=True) for each in response.items}


def event_about(name: str, message: str = "secret") -> Object:
    made = obj(HAPPENED)
    spec = CoreEvent.FromString(made.spec.value)
    spec.regarding.name, spec.message = name, message
    made.spec.CopyFrom(pack(spec))
    return made


def test_a_node_neither_overwrites_an_event_of_others_nor_reads_what_it_said() -> None:
    site = SimSite()

    async def main() -> None:
        async with cluster(site) as served:
            await filled(served)
            node = served.caller("node/n1")
            mine = PutRequest(objects=[event_about("own", "mine")])
            assert await node.ask(node.api.Put, mine) == "PERMISSION_DENIED"
            about_other = (await served.root.do("get", HAPPENED)).revision
            await served.put(event_about("own", "told by root"))
            assert not isinstance(await node.do("get", HAPPENED), str)
            old = GetRequest(key=HAPPENED.to_proto(), revision=about_other)
            assert await node.ask(node.api.Get, old) == "PERMISSION_DENIED"
            assert not isinstance(await node.ask(node.api.Put, mine), str)
            await served.root.do("delete", OWN, dry=False)
            assert not isinstance(await node.ask(node.api.Put, mine), str)
            for gone in ("absent", "other"):
                mine.objects[0].CopyFrom(event_about(gone))
                assert await node.ask(node.api.Put, mine) == "PERMISSION_DENIED"

    site.run(main)


def test_a_binding_adds_to_what_a_node_may_do_to_events() -> None:
    site = SimSite()

    async def main() -> None:
        async with cluster(site) as served:
            await filled(served)
            await served.bind("n1", "node/n1", Rule(verbs=["get", "put", "delete"], types=[EVENT]))
            node = served.caller("node/n1")
            for verb in ("get", "put", "delete"):
                assert not isinstance(await node.do(verb, HAPPENED, dry=False), str), verb

    site.run(main)


def test_a_denied_object_that_is_absent_looks_like_one_that_exists() -> None:
    site = SimSite()

    async def main() -> None:
        async with cluster(site) as served:
            await filled(served)
            for name in ("user/team", "node/n1", "user/nobody"):
                caller = served.caller(name)
                for verb in ("get", "history", "patch", "delete", "update_status", "list"):
                    answers = []
                    for key in (OTHER, ABSENT):
                        answer = await caller.do(verb, key)
                        shown = answer if isinstance(answer, str) else names(answer)
                        answers.append((shown, caller.heard[-1].replace(key.name.encode(), b"NAME")))
                    if verb == "list":  # its answer has the store's revision
                        answers = [(shown, b"") for shown, _ in answers]
                    assert answers[0] == answers[1], (name, verb)

    site.run(main)


def test_every_method_of_every_service_asks_who_calls() -> None:
    """A method without a gate answers a caller without an identity with something else."""
    site, answers = SimSite(), {}
    services = [
        module.DESCRIPTOR.services_by_name[name]
        for module, name in ((api_pb2, "Api"), (nodes_pb2, "Nodes"), (auth_pb2, "Rights"))
    ]

    async def main() -> None:
        async with cluster(site) as served:
            caller = served.caller("anonymous")
            stubs = {"Api": caller.api, "Rights": caller.rights, "Nodes": NodesStub(caller.channel)}
            for service in services:
                for method in service.methods:
                    request = FITTING.get(method.name) or GetMessageClass(method.input_type)()
                    stub = getattr(stubs[service.name], method.name)
                    ask = caller.first if method.server_streaming else caller.ask
                    answers[method.name] = await ask(stub, request)

    site.run(main)
    about_oneself = {name: answers.pop(name) for name in ("WhoAmI", "Explain")}
    assert about_oneself["WhoAmI"].subject.kind == 0
    assert not about_oneself["Explain"].answer
    assert set(answers.values()) == {"UNAUTHENTICATED"}, answers


FITTING: Final[Mapping[str, Any]] = {
    "List": ListRequest(type=UNIT),
    "Watch": WatchRequest(type=UNIT),
    "Requests": NodeRequestsRequest(node="n1"),
    "Explain": ExplainRequest(verb="get", type=UNIT),
}


def test_all_refused_objects_of_a_request_are_named_with_the_remedy() -> None:
    site = SimSite()

    async def main() -> None:
        async with cluster(site) as served:
            await served.bind("a", "user/ada", Rule(verbs=["put"], types=[UNIT], names=["ok-*"]))
            ada = served.caller("user/ada")
            keys = [ObjectKey(UNIT, "system", name) for name in ("ok-1", "bad", "worse")]
            assert await ada.ask(ada.api.Put, PutRequest(objects=[obj(key) for key in keys])) == "PERMISSION_DENIED"
            assert ada.heard[-1].decode() == (
                "user/ada may not put api.systemd.Unit/system/bad, api.systemd.Unit/system/worse: no rule allows it; "
                "'ructl auth why user/ada put api.systemd.Unit -n system bad' says what is missing"
            )
            assert not isinstance(await ada.do("put", keys[0], dry=False), str)

    site.run(main)


def test_a_condition_is_judged_with_what_is_stored_and_what_would_be() -> None:
    site = SimSite()
    condition = (
        "request.verb == 'delete' || (old.spec.description != 'frozen' && new.metadata.labels.team in subject.groups)"
    )

    async def main() -> None:
        async with cluster(site) as served:
            await served.bind("a", "user/ada", Rule(verbs=["put", "delete"], types=[UNIT], condition=condition))
            ada = served.caller("user/ada", "blue")
            assert not isinstance(await ada.do("put", FREE, {"team": "blue"}, dry=False), str)
            assert await ada.do("put", FREE, {"team": "red"}) == "PERMISSION_DENIED"
            assert await ada.do("put", FREE) == "PERMISSION_DENIED"  # it reads a label that is not there
            frozen = obj(FREE, {"team": "blue"})
            frozen.spec.CopyFrom(pack(Unit(description="frozen")))
            await served.put(frozen)
            assert await ada.do("put", FREE, {"team": "blue"}) == "PERMISSION_DENIED"
            assert not isinstance(await ada.do("delete", FREE), str)

    site.run(main)


def test_a_running_watch_follows_the_rights_of_its_caller() -> None:
    site = SimSite()
    rule = Rule(verbs=["watch"], types=[UNIT], label_selector="team=a")

    async def main() -> None:
        async with cluster(site) as served:
            await filled(served)
            await served.bind("team", "user/team", rule)
            team = served.caller("user/team")
            watched = Watched(team.api.Watch(WatchRequest(type=UNIT, send_initial=True), metadata=team.metadata))
            assert await watched.lines(2) == ["update free", "bookmark end"]
            await served.bind("team", "user/team", Rule(verbs=["watch"], types=[UNIT], label_selector="node=n2"))
            assert [await watched.change() for _ in range(2)] == ["delete free", "update other"]
            await served.put(obj(FREE, {"node": "n2"}))
            assert await watched.change() == "update free"
            await served.put(obj(FREE, {"node": "n3"}))
            assert await watched.change() == "delete free"
            await served.bind("team", "user/team", Rule(verbs=["get"], types=[UNIT]))
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await watched.change()
            assert ended.value.code() is grpc.StatusCode.PERMISSION_DENIED

    site.run(main)


def test_an_administrator_cannot_take_its_own_rights_from_itself() -> None:
    site = SimSite()

    async def main() -> None:
        async with cluster(site) as served:
            await served.bind("ada", "user/ada", role="admin")
            await served.bind("bob", "user/bob", role="admin")
            ada, bob = served.caller("user/ada"), served.caller("user/bob")
            binding = ObjectKey(BINDING, "", "ada")
            assert await ada.do("delete", binding, dry=False) == "FAILED_PRECONDITION"
            weaker = Object(metadata=Metadata(name="ada"), spec=pack(Binding(subjects=["user/ada"], role="read-only")))
            assert await ada.ask(ada.api.Put, PutRequest(objects=[weaker])) == "FAILED_PRECONDITION"
            assert not isinstance(await bob.do("delete", binding, dry=False), str)
            assert await ada.do("get", binding) == "PERMISSION_DENIED"

    site.run(main)


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"verbs": ["putt"]}, "rules[0].verbs[0] is 'putt', which is no verb; did you mean 'put'?"),
        ({"verbs": []}, "rules[0].verbs are none, so that the rule allows nothing: name some, or '*'"),
        ({"types": ["api.systemd.Unitt"]}, "which is no type; did you mean 'api.systemd.Unit'?"),
        ({"types": ["Unit"]}, "rules[0].types[0] is 'Unit': write its full name, such as api.systemd.Unit"),
        ({"label_selector": "team in"}, "rules[0].label_selector"),
        ({"condition": "new.spec.nme == 'x'"}, "rules[0].condition reads a field 'nme' of api.systemd.Unit"),
        ({"condition": "subjct.name == 'x'"}, "rules[0].condition reads 'subjct'; did you mean 'subject'?"),
        ({"condition": "1 + 'a'"}, "rules[0].condition does not compile"),
        ({"types": ["*"], "condition": "new.spec.name == 'x'"}, "rules[0].condition reads a field 'spec'"),
    ],
)
def test_a_role_that_could_never_work_is_refused(rule: dict[str, Any], error: str) -> None:
    given = {"verbs": ["get"], "types": [UNIT]} | rule
    found = role_violations(Role(rules=[Rule(**given)]).SerializeToString())
    assert any(error in str(each) for each in found), found


def test_a_condition_that_can_work_is_taken() -> None:
    rule = Rule(verbs=["put"], types=[UNIT], condition="new.spec.service.user != 'root' || subject.name == 'ada'")
    assert role_violations(Role(rules=[rule]).SerializeToString()) == []


def test_why_names_the_rule_or_what_is_missing() -> None:
    site = SimSite()

    async def main() -> None:
        async with cluster(site) as served:
            await served.bind("a", "user/ada", Rule(verbs=["put"], types=[UNIT], namespaces=["a"]))

            async def why(verb: str, namespace: str) -> Any:
                request = ExplainRequest(subject="user/ada", verb=verb, type=UNIT, namespace=namespace, name="x")
                return await served.root.ask(served.root.rights.Explain, request)

            assert list((await why("put", "a")).rules) == ["rules[0] of role a, by binding a"]
            assert "about other places" in (await why("put", "b")).missing
            assert "have the verbs put, and not delete" in (await why("delete", "a")).missing
            me = await served.root.ask(served.root.rights.WhoAmI, WhoAmIRequest())
            assert (me.enforced, list(me.roles)) == (True, ["admin, by group admins"])

    site.run(main)


def test_a_push_of_a_type_that_is_denied_tells_nothing_of_its_objects_and_does_nothing() -> None:
    site = SimSite()

    async def main() -> None:
        async with cluster(site) as served:
            await served.put(backup_type())
            await served.put(backup("prod-secret", target="s3"))
            await served.bind("t", "user/dev", Rule(verbs=["put", "delete"], types=["api.Type"], label_selector="x=y"))
            dev = served.caller("user/dev")
            narrower = backup_type({"schedule": 1})
            narrower.metadata.labels["x"] = "y"
            before = await served.root.ask(served.root.api.List, ListRequest(type="api.Type"))
            for breaking in (False, True):
                push = PutRequest(objects=[narrower], allow_breaking=breaking)
                assert await dev.ask(dev.api.Put, push) == "PERMISSION_DENIED"
                assert b"secret" not in dev.heard[-1]
            for name in ("acme.Backup", "acme.Absent"):
                request = DeleteRequest(keys=[ObjectKey("api.Type", "", name).to_proto()])
                assert await dev.ask(dev.api.Delete, request) == "PERMISSION_DENIED"
            after = await served.root.ask(served.root.api.List, ListRequest(type="api.Type"))
            assert after.revision == before.revision, "nothing was written, not even that work began"
            own = backup_type(name="acme.Own", file="acme/own.proto")
            own.metadata.labels["x"] = "y"
            assert not isinstance(await dev.ask(dev.api.Put, PutRequest(objects=[own])), str)
            gone = DeleteRequest(keys=[ObjectKey("api.Type", "", "acme.Own").to_proto()])
            assert not isinstance(await dev.ask(dev.api.Delete, gone), str)

    site.run(main)


def test_a_watch_does_not_go_on_from_before_its_caller_lost_a_right() -> None:
    site = SimSite()

    async def main() -> None:
        async with cluster(site) as served:
            await filled(served)
            await served.bind("x", "node/n1", Rule(verbs=["watch"], types=[UNIT], names=["other"]))
            node = served.caller("node/n1")
            seen = await node.first(node.api.Watch, WatchRequest(type=UNIT, send_initial=True))
            assert sorted(names(seen)) == ["other", "own"]
            await served.root.do("delete", ObjectKey(BINDING, "", "x"), dry=False)
            resumed = WatchRequest(type=UNIT, after_revision=seen.revision)
            assert await node.first(node.api.Watch, resumed) == "OUT_OF_RANGE"
            root = served.root
            assert not isinstance(await root.first(root.api.Watch, resumed), str)

    site.run(main)


def test_a_partial_binding_beside_it_does_not_hide_the_last_one_of_an_administrator() -> None:
    site = SimSite()

    async def main() -> None:
        async with cluster(site) as served:
            await served.bind("a", "user/ada", Rule(verbs=["put"], types=[ROLE, BINDING], names=["x"]))
            await served.bind("z", "user/ada", role="admin")
            ada = served.caller("user/ada")
            assert await ada.do("delete", ObjectKey(BINDING, "", "z"), dry=False) == "FAILED_PRECONDITION"

    site.run(main)


def test_an_unchanged_put_of_a_role_waits_for_nothing() -> None:
    site = SimSite()

    async def main() -> None:
        async with cluster(site) as served:
            role = Object(metadata=Metadata(name="r"), spec=pack(Role(rules=[Rule(verbs=["get"], types=["*"])])))
            await served.put(role)
            await served.put(obj(DEV))
            begun_s = asyncio.get_running_loop().time()
            await served.put(role)
            assert asyncio.get_running_loop().time() - begun_s < 1

    site.run(main)


def test_a_silent_log_that_is_followed_ends_when_its_unit_gets_labels_that_the_caller_may_not_see() -> None:
    site = SimSite()

    async def silent(_: LogsRequest) -> AsyncIterator[LogsResponse]:
        yield LogsResponse()
        await asyncio.Event().wait()

    async def main() -> None:
        async with cluster(site) as served:
            await filled(served)
            await served.bind("logs", "user/ada", Rule(verbs=["logs"], types=[UNIT], label_selector="team=a"))
            served.served.server._service._logs.read = silent  # type: ignore[assignment]
            ada = served.caller("user/ada")
            call = ada.api.Logs(LogsRequest(key=FREE.to_proto(), follow=True), metadata=ada.metadata)
            await call.read()
            await served.put(obj(FREE, {"team": "b"}))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED

    site.run(main)


def test_a_get_at_a_forgotten_revision_does_not_show_a_limited_caller_what_exists() -> None:
    site = SimSite()

    async def main() -> None:
        async with cluster(site) as served:
            await filled(served)
            await served.bind("get", "user/ada", Rule(verbs=["get"], types=[UNIT], label_selector="team=a"))
            for labels in ({"node": "n2", "new": "x"}, {"node": "n2"}):
                last = await served.put(obj(OTHER, labels))
            await served.served.store.compact(last.revision)
            ada = served.caller("user/ada")
            answers = {
                str(key): await ada.ask(ada.api.Get, GetRequest(key=key.to_proto(), revision=1))
                for key in (OTHER, ABSENT, DEV)
            }
            assert set(answers.values()) == {"PERMISSION_DENIED"}, answers
            assert await served.root.ask(served.root.api.Get, GetRequest(key=OTHER.to_proto(), revision=1)) == (
                "OUT_OF_RANGE"
            )

    site.run(main)
