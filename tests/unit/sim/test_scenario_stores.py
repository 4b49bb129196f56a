"""The stores that a scenario may give its apiservers, and how each mistake is met."""

from __future__ import annotations

import pytest

from rube.sim.scenario import ScenarioError, load_text

SHARED = """\
name: shared
duration: 60s
cluster:
  etcd: {members: 3}
  apiservers: [{name: api-1}, {name: api-2, store: "etcd://etcd-2:2379"}]
  nodes: {count: 1}
faults:
  - {at: 10s, for: 5s, kill: etcd-3}
  - {at: 20s, for: 5s, disk: {host: etcd-1, kind: full}}
expect:
  - acknowledged_writes
"""
STORE = 'store: "etcd://etcd-2:2379"'


def _error(old: str, new: str) -> str:
    assert old in SHARED
    with pytest.raises(ScenarioError) as caught:
        load_text(SHARED.replace(old, new), "s.yaml")
    return "\n".join(caught.value.lines)


def test_apiservers_share_all_members_of_the_etcd_unless_they_name_some() -> None:
    cluster = load_text(SHARED, "s.yaml").scenario.cluster
    assert [apiserver.store for apiserver in cluster.apiservers] == [
        "etcd://etcd-1:2379,etcd-2:2379,etcd-3:2379",
        "etcd://etcd-2:2379",
    ]


def test_an_etcd_has_three_members_unless_told() -> None:
    assert load_text(SHARED.replace("{members: 3}", "{}"), "s.yaml").scenario.cluster.etcd.members == 3


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("members: 3", "members: 2", "s.yaml:4: 2 members: write 1, 3 or 5 in cluster.etcd.members"),
        (
            STORE,
            'store: "etcd://etcd-4:2379"',
            's.yaml:5: unknown etcd member "etcd-4:2379" in cluster.apiservers[1].store; did you mean \'etcd-',
        ),
        (STORE, 'store: "etcd://etcd-1:2380"', 'unknown etcd member "etcd-1:2380"'),
        (STORE, 'store: "etcd://root@etcd-1:2379"', "the simulated etcd has neither users nor TLS"),
        (STORE, 'store: "etcd://etcd-1:2379/other"', 'has the prefix "other", and the first apiserver\'s store ""'),
        (
            STORE,
            'store: "mysql://u@db/rube"',
            "no mysql server is simulated in cluster.apiservers[1].store: write",
        ),
        (STORE, 'store: "redis://x"', "is of no known kind; write one of memory, sqlite"),
        (
            STORE,
            'store: "sqlite:////a.db"',
            "several apiservers need a store that they share, and sqlite:////a.db is on one host",
        ),
        (
            "  etcd: {members: 3}\n",
            "",
            "and sqlite:////var/lib/rube/apiserver.db is on one host in cluster.apiservers[0].store: "
            "write `store: etcd://etcd-1:2379`, and add `etcd: {members: 3}` to `cluster`",
        ),
        ("count: 1", "names: [etcd-1]", 'host name "etcd-1" appears twice'),
        ("kill: etcd-3", "kill: etcd-4", 'unknown host "etcd-4"'),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_to_write(old: str, new: str, told: str) -> None:
    assert told in _error(old, new)


def test_a_store_in_an_etcd_needs_one() -> None:
    text = SHARED.replace("  etcd: {members: 3}\n", "").replace("{name: api-1}, ", "").replace("etcd-", "api-")
    with pytest.raises(ScenarioError) as caught:
        load_text(text, "s.yaml")
    assert 'unknown etcd member "api-2:2379" in cluster.apiservers[0].store: add `etcd: {members: 3}`' in str(
        caught.value
    )
