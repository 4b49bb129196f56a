"""Faults that strike in the middle of a write, a group's members and a store: what may be written of them."""

from __future__ import annotations

import random

import pytest

from rube.sim.cluster.operators import joining_url
from rube.sim.scenario import ScenarioError, load_text
from rube.sim.scenario.chaos import Hosts, draw_faults
from rube.sim.scenario.scenario_pb2 import Chaos, Fault, Scenario
from rube.sim.scenario.yamltext import block_text

RAFT = """\
name: disasters
duration: 100s
cluster:
  raft: {members: 3}
  nodes: {count: 2}
workload:
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 2, node: "worker-{i}"}}
faults:
  - {at: 10s, FAULT}
expect:
  - converged
"""
ALONE = RAFT.replace("  raft: {members: 3}\n", "  apiservers: [{name: api-1}]\n")
NEW_KINDS = [kind for kind in Chaos.Kind.values() if Chaos.DISK_FAIL_SYNC < kind < Chaos.DISK_FAIL_WRITE]


def fault(text: str, scenario: str = RAFT) -> Fault:
    return load_text(scenario.replace("FAULT", text), "s.yaml").scenario.faults[0]


def test_what_is_left_out_is_filled_in() -> None:
    assert list(fault("blackout").blackout.hosts) == ["api-1", "api-2", "api-3", "worker-1", "worker-2"]
    assert fault("interrupt: {host: api-2}").interrupt.write == 1


@pytest.mark.parametrize(
    ("text", "scenario", "says"),
    [
        ("blackout: {hosts: [api-9]}", RAFT, 'unknown host "api-9"'),
        ("interrupt: {write: 2}", RAFT, "no host"),
        ("interrupt: {host: api-1, write: 100000}", RAFT, "write 100000: the most is 10000"),
        ("interrupt: {host: api-1, after: -1s}", RAFT, "impossible time: write at least 0s and at most 60s"),
        ("wipe: api-1", RAFT, 'unknown node "api-1"'),
        ("replace: worker-1", RAFT, 'unknown member "worker-1"'),
        ("replace: api-1", ALONE, "no group replicates its store: add `raft: {members: 3}`"),
        ("replace: api-1", RAFT.replace("members: 3", "members: 1"), "the group has one member"),
        ("for: 3s, replace: api-1", RAFT, "`replace` happens at one moment and takes no `for`"),
        ("restore: api-1", RAFT, "the store of api-1 is not on its own disk: leave out `raft` and `etcd`"),
        ("backup: worker-1", ALONE, 'unknown apiserver "worker-1"'),
        ("for: 20s, chaos: {kinds: [replace]}", ALONE, "no group replicates its store"),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(text: str, scenario: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=r"s\.yaml:\d+: ") as caught:
        fault(text, scenario)
    assert says in str(caught.value)


def test_a_chaos_draws_what_its_scenario_could_say_itself() -> None:
    text = RAFT.replace("FAULT", "for: 80s, chaos: {every: 300ms, hosts_at_once: 5}")
    scenario = load_text(text, "s.yaml").scenario
    chaos = scenario.faults[0]
    del chaos.chaos.kinds[:]
    chaos.chaos.kinds.extend(NEW_KINDS)
    names = ["api-1", "api-2", "api-3", "worker-1", "worker-2"]
    hosts = Hosts(names=names, nodes=names[3:], members=names[:3], units=[("default", "web-1"), ("default", "web-2")])
    faults = list(draw_faults(chaos, hosts, random.Random(1)))
    kinds = {found.WhichOneof("fault") for found in faults}
    struck = {"blackout", "interrupt", "wipe", "replace", "transfer", "crash_unit", "remove_unit", "fail_actions"}
    assert kinds == struck | {"clock_jump"}, "a machine that is set up anew may come with another clock"
    assert any(len(found.blackout.hosts) > 2 for found in faults)
    assert {found.interrupt.power_off for found in faults if found.HasField("interrupt")} == {True, False}
    assert any(found.interrupt.after.ToNanoseconds() for found in faults)
    listed = block_text(Scenario(faults=faults))
    again = load_text(f"{text[: text.index('faults:')]}{listed}\n{text[text.index('expect:') :]}", "s.yaml")
    assert list(again.scenario.faults) == faults


def test_a_member_with_a_new_disk_enters_the_group_that_the_others_are_in() -> None:
    url = "raft+sqlite:////d?name=b&listen=0.0.0.0:7824&members=a=a:7824,b=b:7824,c=c:7824&tick_ms=50"
    assert (
        joining_url(url) == "raft+sqlite:////d?name=b&listen=0.0.0.0:7824&tick_ms=50&address=b:7824&join=a:7824,c:7824"
    )
    assert joining_url(joining_url(url)) == joining_url(url)
