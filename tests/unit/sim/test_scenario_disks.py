"""Disks that lie: which scenarios may have them."""

from __future__ import annotations

import pytest

from rube.sim.scenario import ScenarioError, load_text
from rube.sim.scenario.disks import BROKEN_BY_LIES

LIE = "{at: 10s, for: 5s, disk: {host: HOST, kind: lie}}"
OFF = "{at: 12s, for: 2s, power_off: HOST}"


def load(*faults: str, cluster: str = "clocks: {}", host: str = "api-1", rest: str = "") -> None:
    listed = "\n".join(f"  - {fault}" for fault in faults).replace("HOST", host)
    load_text(
        f"name: lies\nduration: 60s\ncluster:\n  nodes: {{count: 1}}\n  {cluster}\nfaults:\n{listed}\n"
        f"expect: [converged]\n{rest}",
        "s.yaml",
    )


GROUP_OF_4 = "raft: {members: 4}"
NO_STORE = "etcd: {}"


@pytest.mark.parametrize(
    ("faults", "cluster", "host"),
    [
        ((LIE, "{at: 12s, for: 1s, kill: HOST}"), "clocks: {}", "api-1"),
        ((OFF, LIE.replace("10s", "20s")), "clocks: {}", "api-1"),
        ((LIE, OFF), "clocks: {}", "worker-1"),
        ((LIE, OFF), GROUP_OF_4, "api-2"),
        ((LIE, OFF, "{at: 20s, replace: HOST}"), GROUP_OF_4, "api-2"),
        ((LIE, "{at: 12s, for: 2s, power_off: api-3}"), GROUP_OF_4, "api-2"),
        ((LIE, "{at: 9s, for: 9s, chaos: {kinds: [kill, disk_fail_read]}}"), "clocks: {}", "api-1"),
    ],
)
def test_a_lie_is_allowed_where_nothing_acknowledged_can_be_lost(
    faults: tuple[str, ...], cluster: str, host: str
) -> None:
    load(*faults, cluster=cluster, host=host)


@pytest.mark.parametrize(
    ("faults", "cluster", "host"),
    [
        ((LIE, OFF), "clocks: {}", "api-1"),
        ((LIE, "{at: 20s, for: 2s, blackout: {}}"), "clocks: {}", "api-1"),
        ((LIE, "{at: 2s, for: 2s, interrupt: {host: HOST, power_off: true}}"), "clocks: {}", "api-1"),
        ((LIE, "{at: 5s, for: 9s, chaos: {kinds: [power_off, kill]}}"), "clocks: {}", "api-1"),
        (("{at: 5s, for: 9s, chaos: {kinds: [disk_lie, interrupt]}}",), "clocks: {}", "api-1"),
        ((LIE, OFF), "raft: {members: 3}", "api-1"),
        ((LIE, "{at: 12s, for: 2s, power_off: leader}"), "raft: {members: 3}", "api-1"),
        ((LIE, OFF, "{at: 20s, replace: api-3}"), GROUP_OF_4, "api-1"),
        ((LIE, OFF, LIE.replace("HOST", "api-2"), OFF.replace("HOST", "api-2")), GROUP_OF_4, "api-1"),
        ((LIE, OFF), NO_STORE, "etcd-2"),
        ((LIE, "{at: 12s, for: 2s, power_off: leader}"), NO_STORE, "etcd-2"),
    ],
)
def test_a_lie_that_loses_what_was_acknowledged_is_refused(faults: tuple[str, ...], cluster: str, host: str) -> None:
    with pytest.raises(ScenarioError, match=rf"s\.yaml:\d+: the disk of {host} lies, and {host} loses its power later"):
        load(*faults, cluster=cluster, host=host)
    load(*faults, cluster=cluster, host=host, rest=f"unchecked: [{', '.join(BROKEN_BY_LIES)}]")


def test_a_lie_that_is_given_up_for_is_refused_until_every_check_is_named() -> None:
    with pytest.raises(ScenarioError, match=r"`unchecked: \[followers\]`"):
        load(LIE, OFF, rest=f"unchecked: [{', '.join(BROKEN_BY_LIES[:-1])}]")


def test_a_disk_without_a_kind_is_told_all_of_them() -> None:
    with pytest.raises(ScenarioError, match=r"`kind: full`, `kind: stall`, .*`kind: fail_read`, `kind: lie`"):
        load("{at: 1s, disk: {host: api-1}}")
