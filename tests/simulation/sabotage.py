"""A cluster to be broken on purpose, and what its judges say of it."""

from __future__ import annotations

from collections.abc import Callable

from rube.api import WatchResponse
from rube.server.events import EncodedResponse
from rube.sim.scenario import Simulation, load_text

SCENARIO = """\
name: sabotage
duration: 40s
cluster:
  nodes: {count: 2}
workload:
  observers: 1
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 4, node: "worker-{i}"}}
    - {at: 5s, every: 3s, times: 5, change: {names: [web-1, web-2]}}
    - {at: 6s, every: 500ms, times: 40, read: {names: [web-1, web-3, web-4]}}
    - {at: 12s, delete: {names: [web-4]}}
    - {at: 25s, put: {name: "web-{i}", first: 4, node: worker-1}}
faults:
  - {at: 14s, for: 3s, kill: worker-1}
  - {at: 15s, for: 2s, isolate: observer-1}
expect:
  - watch_promises
"""


def violated(text: str = SCENARIO) -> set[str]:
    """The checks that do not hold. Each of them shows what offends."""
    with Simulation(load_text(text, "s.yaml")) as simulation:
        result = simulation.run()
    for verdict in result.verdicts:
        assert verdict.passed or verdict.offending, "a violation shows what offends"
    return {verdict.check for verdict in result.verdicts if not verdict.passed}


def changed(response: EncodedResponse, change: Callable[[WatchResponse], None]) -> EncodedResponse:
    """The response of a watch after `change` to its message."""
    message = WatchResponse.FromString(response.encode().data)
    change(message)
    return encoded(message)


def encoded(message: WatchResponse) -> EncodedResponse:
    events = WatchResponse(events=message.events).SerializeToString(deterministic=True)
    return EncodedResponse(events, len(message.events), message.revision, message.store_id)
