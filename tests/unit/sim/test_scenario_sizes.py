"""A scenario file that is hostile, or only mistaken by some zeros, is refused at once and without much memory."""

from __future__ import annotations

import pytest

from rube.sim.scenario import ScenarioError, load_text

HEAD = "name: s\nduration: 60s\n"
TAIL = "expect: [watch_promises]\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cluster: {nodes: {count: 100000000}}\n", "s.yaml:3: 100000000 nodes; the most is 1000 in cluster.nodes"),
        ("workload: {observers: 4000000000}\n", "the most is 1000 in workload.observers"),
        ("workload: {steps: [{put: {name: 'a-{i}', count: 4000000000}}]}\n", "4000000000 units; the most is 100000"),
        ("workload: {steps: [{put: {name: a}, every: 1ns, times: 4000000000}]}\n", "with all their `times`"),
        ("workload: {steps: [{put: {name: 'a-{i}', first: 4000000000}}]}\n", "the most is 1000000000"),
        ("faults: [{at: 1s, for: 500s, chaos: {every: 1ms}}]\n", "more than 100000 faults within `for`"),
        ("faults: [{at: 1s, for: 50s, chaos: {every: 1ns}}]\n", "the least is 1ms"),
        ("cluster: {compaction: {every: 1ns}}\n", "write at least 1ms and at most 720h in cluster.compaction.every"),
        ("cluster: {node_lease: 1ns}\n", "write at least 1ms and at most 720h in cluster.node_lease"),
        ("faults:\n" + "  - {at: 1s, kill: a}\n" * 10_001, "10001 faults; the most is 10000"),
        ("seed: " + "9" * 5000 + "\n", 'not "' + "9" * 100 + '…" (5000 characters) in seed'),
        ("workload: {steps: [{put: {name: a, file: /dev/zero}}]}\n", "/dev/zero: larger than 4194304 bytes"),
        (
            "\ufeffseed: 3\n",
            "not YAML: did not find expected key (line 3, column 1 has U+FEFF ZERO WIDTH NO-BREAK SPACE, which cannot",
        ),
        ("faults: " + "[" * 900, "nested more than 32 deep"),
        ("faults: " + "[" * 100_000, "nest"),
        ("faults: " + "{a: " * 100_000, "nested more than 32 deep"),
        ("cluster: &a {nodes: {count: 1}}\nworkload: *a\n", "an alias (*a): write it out"),
        ("faults: " + "]" * 100_000, "not YAML"),
    ],
)
def test_too_much_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_text(HEAD + text + TAIL, "s.yaml")
    assert says in str(caught.value)
