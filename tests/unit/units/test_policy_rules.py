"""The node's policy: what a unit may do, and the words for what it may not."""

from __future__ import annotations

import asyncio

import pytest

from rube.api import Install, NodePolicy, Service, Unit
from rube.units.checks.commands import EXEC_LISTS
from rube.units.policy import MachineUser, PolicyGate, refusals
from rube.units.policy.accounts import UNPRIVILEGED, KnownAccounts
from rube.units.policy.rules import FOREIGN_LISTS, OPTIONS, REACHING, STREAMS, policy_problem

ROOT = MachineUser(name="root", uid=0, groups=frozenset({0}))
WEB = MachineUser(name="web", uid=800, groups=frozenset({800}))
TOOR = MachineUser(name="toor", uid=0)
ON_ROOT = KnownAccounts(ROOT, (ROOT, WEB, TOOR), (("root", 0), ("web", 800), ("docker", 99)))


def _unit(start: str = "/bin/true", **service: object) -> Unit:
    return Unit(service=Service(exec=Service.Exec(start=[start]), **{"user": "web", **service}))  # type: ignore[arg-type]


def _with(**fields: object) -> Unit:
    unit = _unit()
    unit.MergeFrom(Unit(**fields))  # type: ignore[arg-type]
    return unit


REFUSED = [
    (_unit(user=""), "service.user"),
    (_unit(user="root"), "service.user"),
    (_unit(user="0"), "service.user"),
    (_unit(user="toor"), "service.user"),
    (_unit(user="%i"), "service.user"),
    (_unit(group="%i"), "service.group"),
    (_unit(group="root"), "service.group"),
    (_unit(group="99"), "service.group"),
    (_unit("+/bin/true"), "service.exec.start[0]"),
    (_unit("!/bin/true"), "service.exec.start[0]"),
    (_unit("-!!/bin/true"), "service.exec.start[0]"),
    (_unit(environment_file=["-/etc/shadow"]), "service.environment_file[0]"),
    (_unit(standard_input="file:/etc/shadow"), "service.standard_input"),
    (_unit(standard_output="append:/etc/passwd"), "service.standard_output"),
    (_unit(standard_error="truncate:/etc/passwd"), "service.standard_error"),
    (_unit(standard_input="tty"), "service.standard_input"),
    (_unit(nice=-1), "service.nice"),
    (_unit(state_directory=["rube"]), "service.state_directory"),
    (_unit(root_directory="/srv"), "service.root_directory"),
    (_with(conflicts=["ssh.service"]), "conflicts"),
    (_with(on_failure=["poweroff.target"]), "on_failure"),
    (_with(install=Install(alias=["ssh.service"])), "install.alias"),
]


@pytest.mark.parametrize(("unit", "field"), REFUSED, ids=lambda value: str(value).replace("\n", " ")[-60:])
def test_a_root_rubelet_without_a_policy_gives_no_unit_more_than_its_user_has(unit: Unit, field: str) -> None:
    assert [found.field for found in refusals(NodePolicy(), ON_ROOT, unit)] == [field]


@pytest.mark.parametrize(("unit", "field"), REFUSED, ids=lambda value: str(value).replace("\n", " ")[-60:])
def test_a_rubelet_that_is_not_root_leaves_it_to_the_system_without_a_policy(unit: Unit, field: str) -> None:
    assert refusals(NodePolicy(), UNPRIVILEGED, unit) == []


@pytest.mark.parametrize(
    "unit",
    [
        _unit(),
        _unit(user="800", group="web", nice=5, working_directory="/srv", standard_output="null"),
        _unit("-@:/bin/sh sh -c true"),
        _with(conflicts=["rube-default.other.service"], after=["network.target"], part_of=["x.target"]),
        _unit(user="nobody-here"),
    ],
)
def test_a_unit_that_keeps_to_its_user_needs_no_policy(unit: Unit) -> None:
    assert refusals(NodePolicy(), ON_ROOT, unit) == []


@pytest.mark.parametrize(
    ("policy", "unit", "allowed"),
    [
        (NodePolicy(users=["root"]), _unit("+/bin/true", user=""), True),
        (NodePolicy(users=["root"]), _unit(), False),
        (NodePolicy(users=["we*"]), _unit(), True),
        (NodePolicy(users=["we*"]), _unit(user="0"), False),
        (NodePolicy(groups=["docker"]), _unit(group="docker"), True),
        (NodePolicy(executables=["/usr/bin/*"]), _unit("/usr/bin/env x"), True),
        (NodePolicy(executables=["/usr/bin/*"]), _unit("env x"), False),
        (NodePolicy(executables=["/usr/bin/*"]), _unit("/usr/bin/../../bin/sh"), False),
        (NodePolicy(executables=["/usr/bin/*"]), _unit("//usr/bin/env"), True),
        (NodePolicy(working_directories=["/srv/*"]), _unit(working_directory="-/srv/a"), True),
        (NodePolicy(working_directories=["/srv/*"]), _unit(), False),
        (NodePolicy(working_directories=["~"]), _unit(working_directory="~"), True),
        (NodePolicy(writable_paths=["/var/log/web/*"]), _unit(standard_output="append:/var/log/web/out"), True),
        (NodePolicy(writable_paths=["/var/log/web/*"]), _unit(standard_output="append:/var/log/web/../x"), False),
        (NodePolicy(readable_paths=["/etc/web.env"]), _unit(environment_file=["-/etc/web.env"]), True),
        (NodePolicy(options=["service.*"]), _unit(state_directory=["web"], nice=-3, standard_input="tty"), True),
        (NodePolicy(options=["service.*"]), _with(conflicts=["x.service"]), False),
    ],
)
def test_a_rule_allows_what_it_names(policy: NodePolicy, unit: Unit, allowed: bool) -> None:
    assert (refusals(policy, ON_ROOT, unit) == []) is allowed


def test_a_refusal_names_the_policy_the_field_the_rule_and_the_remedy() -> None:
    gate = PolicyGate(NodePolicy(users=["web"]), accounts=ON_ROOT, source="policy /etc/p")
    assert gate.refusal(_unit(user="")) == (
        "refused by this node (policy /etc/p): service.user is missing, which means root, as the rubelet: rule `users` "
        'allows web: name another user, or let the node\'s administrator add `users: "root"`'
    )


JUDGED = {
    *("service.user", "service.group", "service.working_directory", "service.environment_file"),
    *(f"service.exec.{name}" for name in EXEC_LISTS),
    *(f"service.{name}" for name in STREAMS),
}
_UNIT = "description doc_url part_of after condition start_limit enabled state node_lost install.wanted_by"
_SERVICE = """
title type pid_file time restart status oom_policy kill remain_after_exit bus_name notify_access guess_main_pid
environment umask syslog_identifier no_new_privileges private_tmp protect_system limits
"""
OWN = {*_UNIT.split(), *(f"service.{name}" for name in _SERVICE.split())}
"""Fields that give a unit nothing beyond what its user has."""


def test_every_field_of_a_unit_is_judged_or_harmless() -> None:
    fields = {field.name for field in Unit.DESCRIPTOR.fields} - {"service", "install"}
    fields |= {f"install.{field.name}" for field in Install.DESCRIPTOR.fields}
    fields |= {f"service.{field.name}" for field in Service.DESCRIPTOR.fields} - {"service.exec"}
    fields |= {f"service.exec.{field.name}" for field in Service.Exec.DESCRIPTOR.fields}
    assert fields == JUDGED | set(OPTIONS) | OWN
    assert not (set(FOREIGN_LISTS) | set(REACHING)) & OWN


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (NodePolicy(executables=["usr/bin/*"]), "executables[0] 'usr/bin/*' is no absolute path"),
        (NodePolicy(options=["service.umask"]), "options[0] 'service.umask' is unknown: use one of"),
        (NodePolicy(users=["a", "*b"]), "users[1] '*b': `*` can only be its end"),
        (NodePolicy(users=[""]), "users[0] is empty"),
        (NodePolicy(users=["*"], options=["*"], executables=["/*"]), ""),
    ],
)
def test_a_rule_that_matches_nothing_is_a_mistake(policy: NodePolicy, words: str) -> None:
    assert policy_problem(policy).startswith(words) if words else policy_problem(policy) == ""


def test_a_new_policy_wakes_the_controller_once() -> None:
    async def check() -> None:
        gate = PolicyGate()
        gate.set(NodePolicy(users=["web"]), "policy /etc/p")
        await gate.changed()
        gate.set(NodePolicy(users=["web"]), "policy /etc/p")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gate.changed(), 0)

    asyncio.run(check())
