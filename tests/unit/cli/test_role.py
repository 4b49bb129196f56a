"""The least rights of a controller, as `rube role` prints them."""

from __future__ import annotations

from click.testing import CliRunner

from rube.api import Binding, Role
from rube.api.textproto import parse_documents
from rube.api.well_known import LEASE_TYPE, NODE_TYPE, UNIT_TYPE
from rube.cli.role import role
from rube.server.rights.policy import Policy
from rube.server.rights.subjects import Subject


def test_the_role_of_a_controller_allows_what_it_declares_and_the_lease_of_its_name_alone() -> None:
    result = CliRunner().invoke(role, ["placement", "--puts", UNIT_TYPE, "--identity", "p1"])
    assert result.exit_code == 0, result.output
    made, binding = [obj for each in parse_documents(result.output, "out") for obj in each.objects]
    role_of, binding_of = Role.FromString(made.spec.value), Binding.FromString(binding.spec.value)
    policy = Policy({made.metadata.name: role_of}, {binding.metadata.name: binding_of})
    me = Subject("controller", "p1")

    def may(verb: str, type_name: str, namespace: str = "", name: str = "x") -> bool:
        return policy.access(me, verb, type_name).plain(namespace, name) is not None

    assert may("watch", UNIT_TYPE, "shop")
    assert may("put", UNIT_TYPE, "shop")
    assert may("list", NODE_TYPE)
    assert may("put", LEASE_TYPE, "leader-leases", "placement")
    assert not may("put", LEASE_TYPE, "leader-leases", "other")
    assert not may("put", NODE_TYPE)
    assert not may("delete", UNIT_TYPE, "shop")
    assert not may("get", "auth.Role")


def test_a_controller_that_is_not_there_is_wrong_usage() -> None:
    result = CliRunner().invoke(role, ["nothing:Here"])
    assert result.exit_code == 2
    assert "nothing" in result.output
