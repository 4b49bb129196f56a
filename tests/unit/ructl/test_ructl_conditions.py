"""The conditions that `ructl wait` waits for."""

from __future__ import annotations

import pytest

from rube.api import Metadata, NamespaceStatus, Node, NodeStatus, Object, Service, StatusCondition, Unit, UnitStatus
from rube.api.errors import InvalidArgumentError
from rube.api.types import pack
from ructl.conditions import parse_condition
from ructl.query import parse_query
from ructl.wait import missing

UNIT = "api.systemd.Unit"


def unit(name: str = "web", **status: object) -> Object:
    spec = Unit(enabled=True)
    spec.service.exec.start.append("/bin/a")
    spec.service.environment["a.b"] = "c"
    spec.service.restart = Service.ALWAYS
    obj = Object(spec=pack(spec))
    obj.metadata.namespace, obj.metadata.name, obj.metadata.generation = "default", name, 2
    obj.metadata.labels["node"] = "worker-1"
    if status:
        obj.status.CopyFrom(pack(UnitStatus(**{"observed_generation": 2, **status})))  # type: ignore[arg-type]
    return obj


HOLDS = [
    ("exists", True),
    ("deleted", False),
    ("active", True),
    ("status.active_state=active", True),
    ("status.active_state!=active", False),
    ("status.restarts>=3", True),
    ("status.restarts>=4", False),
    ("status.restarts<=3", True),
    ("status.restarts=3", True),
    ("status.exit_code=0", True),
    ("status.exit_code<=-1", False),
    ("status.message=", True),
    ("status.message", False),
    ("status.active_state", True),
    ("spec.enabled=true", True),
    ("spec.service.restart=ALWAYS", True),
    ("spec.service.restart!=NO", True),
    ("spec.service.exec.start=/bin/a", True),
    ("spec.service.time.restart=0", True),
    ("spec.service.environment.a.b=c", True),
    ("spec.service.environment.a", False),
    ("metadata.labels.node=worker-1", True),
    ("metadata.labels.tier=", True),
    ("metadata.generation>=2", True),
]


@pytest.mark.parametrize(("text", "holds"), HOLDS)
def test_a_condition(text: str, holds: bool) -> None:
    lack = parse_condition(text, UNIT).lack(unit(active_state="active", sub_state="running", restarts=3))
    assert (not lack) == holds, lack


WHY = [
    ("active", unit(), "its node has not reported yet"),
    ("active", unit(active_state="failed", sub_state="failed", message="status 3"), "it is failed: status 3"),
    (
        "active",
        unit(active_state="active", sub_state="running", observed_generation=1),
        "generation 2 is not applied yet, and it is active (running)",
    ),
    ("status.active_state=active", unit(), "status.active_state is not set"),
    ("status.restarts>=3", unit(restarts=1), "status.restarts is 1"),
    ("status.restarts>=3", unit(), "status.restarts is 0"),
]


@pytest.mark.parametrize(("text", "obj", "why"), WHY)
def test_what_is_missing_is_said(text: str, obj: Object, why: str) -> None:
    assert parse_condition(text, UNIT).lack(obj) == why


BAD = [
    ("activ", "'activ' is no condition; did you mean 'active'?"),
    ("ready", "'ready' is a condition of api.Node, not of api.systemd.Unit"),
    ("stat.active_state=x", "'stat' begins no path; did you mean 'status'?"),
    ("status.activ_state=x", "api.systemd.UnitStatus has no field 'activ_state'; did you mean 'active_state'?"),
    ("status.restarts>=many", "status.restarts is a number, not 'many'"),
    ("status.active_state>=a", "status.active_state is no number: compare it with = or !="),
    ("spec.service.restart=ALLWAYS", "spec.service.restart has no value 'ALLWAYS'; did you mean 'ALWAYS'?"),
    ("spec.enabled=yes", "spec.enabled is true or false, not 'yes'"),
    ("spec.service=x", "spec.service is a whole message: name a field of it"),
    ("spec.enabled.x=1", "spec.enabled has no fields"),
    ("metadata.labels=x", "metadata.labels is a map: add a key"),
    ("spec=1", "spec is a whole message: name a field of it, such as spec.…"),
]


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_a_wrong_condition_is_told_with_what_was_meant(text: str, complaint: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        parse_condition(text, UNIT)
    assert complaint in raised.value.message


def test_a_node_is_ready_once_it_is_heard() -> None:
    obj = Object(spec=pack(Node()))
    condition = parse_condition("ready", "api.Node")
    assert condition.lack(obj) == "it is unknown"
    obj.status.CopyFrom(pack(NodeStatus(readiness=NodeStatus.READY)))
    assert condition.lack(obj) == ""


def test_all_that_are_named_must_be_there_and_a_selector_must_match() -> None:
    active = [parse_condition("active", UNIT)]
    up = unit(active_state="active", sub_state="running")
    named = parse_query("Unit", None, None, ["web", "db"])
    assert missing(named, [up], active) == "db: it does not exist"
    assert missing(named, [up, unit("db", active_state="active")], active) == ""
    chosen = parse_query("Unit", None, "tier=web", [])
    assert missing(chosen, [], active) == "nothing matches"
    assert missing(chosen, [], [parse_condition("deleted", UNIT)]) == ""
    assert missing(chosen, [up], [parse_condition("deleted", UNIT)]) == "default/web: it still exists"


def test_long_lists_of_what_is_missing_are_cut() -> None:
    query = parse_query("Unit", None, "tier=web", [])
    found = [unit(f"u{number}") for number in range(9)]
    assert missing(query, found, [parse_condition("active", UNIT)]).endswith("; and 6 more")


def namespace_that(state: StatusCondition.State.ValueType) -> Object:
    found = StatusCondition(type="Deleting", state=state, reason="Waits", message="for a finalizer")
    return Object(metadata=Metadata(name="shop"), status=pack(NamespaceStatus(conditions=[found])))


def test_a_condition_in_a_status_holds_in_its_state() -> None:
    wanted = parse_condition("condition=Deleting", "core.Namespace")
    assert not wanted.lack(namespace_that(StatusCondition.TRUE))
    assert wanted.lack(namespace_that(StatusCondition.FALSE)) == "Deleting is FALSE: Waits: for a finalizer"
    assert wanted.lack(Object()) == "Deleting is UNKNOWN: it is not reported"
    assert not parse_condition("condition=Deleting=false", "core.Namespace").lack(namespace_that(StatusCondition.FALSE))


def test_a_condition_that_no_status_can_have_is_wrong() -> None:
    with pytest.raises(InvalidArgumentError, match="report no conditions"):
        parse_condition("condition=Ready", "api.Node")
    with pytest.raises(InvalidArgumentError, match="TRUE, FALSE or UNKNOWN"):
        parse_condition("condition=Ready=maybe", "core.Namespace")
