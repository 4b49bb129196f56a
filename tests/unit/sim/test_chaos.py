"""The faults that a chaos draws."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from rube.sim.scenario import ScenarioError, Simulation, load_text
from rube.sim.scenario.chaos import KINDS, Hosts, draw_faults
from rube.sim.scenario.scenario_pb2 import Chaos, Fault, Scenario
from rube.sim.scenario.yamltext import block_text

TEXT = """\
name: chaos
duration: 100s
cluster:
  raft: {members: 3}
  nodes: {count: 2}
faults:
  - {at: 10s, for: 60s, chaos: {every: 300ms, each: 4s}}
expect:
  - converged
"""
HOSTS = ["api-1", "api-2", "api-3", "worker-1", "worker-2"]
ALL = Hosts(names=HOSTS, nodes=HOSTS[3:], members=HOSTS[:3], units=[("default", "web-1"), ("default", "web-2")])
BEGIN_NS, END_NS = 10 * 10**9, 70 * 10**9


def scenario(text: str = TEXT) -> Scenario:
    return load_text(text, "s.yaml").scenario


def drawn(seed: int, text: str = TEXT) -> list[Fault]:
    return list(draw_faults(scenario(text).faults[0], ALL, random.Random(seed)))


def events(text: str, seed: int = 1) -> list[str]:
    """The orders of a run, in words."""
    with Simulation(load_text(text, "s.yaml"), seed=seed) as simulation:
        simulation.build()
        return [event.text for event in simulation._events()]


def test_the_seed_decides_and_two_chaoses_are_not_the_same() -> None:
    once = [line for line in events(TEXT) if line]
    assert once == [line for line in events(TEXT) if line]
    assert once != [line for line in events(TEXT, seed=2) if line]
    first = TEXT.splitlines()[TEXT.splitlines().index("faults:") + 1]
    twice = [line for line in events(TEXT.replace(first, f"{first}\n{first}")) if line]
    assert twice[: len(once)] == once
    assert len(twice) > len(once) + 10
    assert twice[len(once) :] != once


def test_hosts_without_a_disk_have_none_that_fails() -> None:
    text = TEXT.replace("  nodes:", "  controller_replicas: {count: 3}\n  nodes:")
    text = text.replace("each: 4s", "kinds: [disk_full, kill], hosts: [controller-1, controller-2, api-1]")
    told = events(text)
    assert any("the disk of api-1 is full" in line for line in told)
    assert any("of controller-1 is killed" in line for line in told)
    assert not any("the disk of controller-" in line for line in told)


def victim(fault: Fault) -> str:
    value = getattr(fault, fault.WhichOneof("fault") or "")
    if isinstance(value, str):
        return value
    return str(value.host) if hasattr(value, "host") else str(getattr(value, "from")[0])


def spans(faults: list[Fault]) -> Iterator[tuple[str, int, int]]:
    for fault in faults:
        at_ns = fault.at.ToNanoseconds()
        yield victim(fault), at_ns, at_ns + fault.lasts.ToNanoseconds()


def test_the_same_numbers_give_the_same_faults_and_others_give_others() -> None:
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize("seed", range(20))
def test_every_fault_is_one_that_a_scenario_may_have(seed: int) -> None:
    listed = scenario()
    del listed.faults[:]
    listed.faults.extend(drawn(seed))
    assert len(listed.faults) > 10
    faults = block_text(Scenario(faults=listed.faults))
    text = f"{TEXT[: TEXT.index('faults:')]}{faults}\n{TEXT[TEXT.index('expect:') :]}"
    assert list(scenario(text).faults) == list(listed.faults)


@pytest.mark.parametrize("seed", range(20))
def test_faults_begin_and_end_within_the_chaos_and_no_host_is_struck_twice_at_a_time(seed: int) -> None:
    found = list(spans(drawn(seed)))
    assert all(BEGIN_NS < begin_ns <= end_ns <= END_NS for _, begin_ns, end_ns in found)
    for place, (host, begin_ns, _) in enumerate(found):
        under_way = [other for other, _, end_ns in found[:place] if end_ns >= begin_ns]
        assert host not in under_way
        assert len(under_way) < 2


@pytest.mark.parametrize("seed", range(20))
def test_no_link_is_struck_twice_by_one_kind_at_a_time(seed: int) -> None:
    """The end of one would be that of the other."""
    until_ns: dict[tuple[str, frozenset[str]], int] = {}
    for fault in drawn(seed, TEXT.replace("each: 4s", "each: 9s, hosts_at_once: 5, kinds: [partition, slow]")):
        kind = fault.WhichOneof("fault") or ""
        at_ns, link = fault.at.ToNanoseconds(), getattr(fault, kind)
        for end in link.to:
            pair = kind, frozenset({getattr(link, "from")[0], end})
            assert until_ns.get(pair, 0) < at_ns
            until_ns[pair] = at_ns + fault.lasts.ToNanoseconds()


def test_every_kind_and_every_host_comes_up() -> None:
    faults = [fault for seed in range(20) for fault in drawn(seed)]
    kinds = {fault.WhichOneof("fault") for fault in faults} | {fault.disk.kind for fault in faults if fault.disk.kind}
    assert len(kinds) == len(KINDS) + 1, "the three of disks are one field"
    assert {victim(fault) for fault in faults} == set(HOSTS)
    assert {fault.partition.one_way for fault in faults if fault.HasField("partition")} == {True, False}


def test_a_scenario_can_say_what_strikes_whom() -> None:
    faults = drawn(1, TEXT.replace("each: 4s", "kinds: [kill, disk_stall], hosts: [api-2]"))
    assert {fault.WhichOneof("fault") for fault in faults} == {"kill", "disk"}
    assert {victim(fault) for fault in faults} == {"api-2"}


def test_observers_are_not_struck_unless_they_are_named() -> None:
    text = TEXT.replace("faults:", "workload: {observers: 2}\nfaults:")
    assert list(scenario(text).faults[0].chaos.hosts) == HOSTS
    named = scenario(text.replace("each: 4s", "hosts: [observer-1]")).faults[0].chaos
    assert list(named.hosts) == ["observer-1"]
    assert Chaos.KILL in named.kinds


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("for: 60s, ", "", "a chaos needs `for`: when it is over"),
        ("for: 60s", "for: 600s", "impossible time 610s: the scenario ends at 100s"),
        ("each: 4s", "each: 1us", "impossible time: the least is 1ms"),
        ("every: 300ms", "every: 1ns", "impossible time: the least is 1ms"),
        ("every: 300ms", "every: 31s", "hardly anything would happen: make `for` longer, or `every` shorter"),
        ("each: 4s", "hosts: [api-9]", 'unknown host "api-9"'),
        ("each: 4s", "kinds: [kil]", '"kil"'),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(old: str, new: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=r"s\.yaml:\d+: ") as caught:
        scenario(TEXT.replace(old, new))
    assert says in str(caught.value)


def test_a_single_host_has_no_links_that_fail() -> None:
    alone = TEXT.replace("  raft: {members: 3}\n  nodes: {count: 2}\n", "  apiservers: [{name: api-1}]\n")
    assert scenario(alone)
    assert any("api-1 loses power" in line for line in events(alone))
    with pytest.raises(ScenarioError, match="there is one host, and no link that could fail"):
        scenario(alone.replace("each: 4s", "kinds: [slow, clog]"))
