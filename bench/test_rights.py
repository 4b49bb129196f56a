"""The cost of rights: the processor time of a put through the gate over that of one without it, in one process and
without transport and disk.

Goal: 15 us where a rule without labels and condition allows it, 60 us with one condition that is compiled already.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.test_apply import unit
from rube.api import Binding, PutRequest, Role, Rule
from rube.host import Host, RealClock, RealRandomness
from rube.server import ApiServerConfig
from rube.server.backend import Backend
from rube.server.entrance.call import Call
from rube.server.entrance.kinds import MANNERS
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.put import put
from rube.server.rights.gate import Gate
from rube.server.rights.kept import KeptPolicy
from rube.server.rights.policy import Policy
from rube.server.rights.subjects import Identified, Subject
from rube.server.writes import Writer
from rube.store import RealStorage, open_store
from rube.transport import GrpcNetwork
from rube.units.spec_checks import built_in_spec_checks

CALLS = 200
ROUNDS = 80
UNIT = "api.systemd.Unit"
RULES = {
    "a rule of a namespace": Rule(verbs=["put"], types=[UNIT], namespaces=["shop"]),
    "a rule with labels": Rule(verbs=["put"], types=[UNIT], label_selector="app=shop"),
    "a rule with a condition": Rule(
        verbs=["put"], types=[UNIT], condition="new.metadata.labels.app == 'shop' && subject.name != 'bob'"
    ),
}


def policy(rule: Rule) -> Policy:
    """Returns a policy of 50 roles and bindings, of which the last one counts."""
    roles = {f"r{number:02}": Role(rules=[Rule(verbs=["get"], types=["*"])]) for number in range(50)}
    bindings = {name: Binding(subjects=["group/others"], role=name) for name in roles}
    return Policy({**roles, "z": Role(rules=[rule])}, {**bindings, "z": Binding(subjects=["user/ada"], role="z")})


async def _seconds(rule: Rule) -> tuple[float, float]:
    """Returns the processor time of a put without the gate and with it: the least of some rounds of each in turn."""
    host = Host(name="b", clock=RealClock(), network=GrpcNetwork(), storage=RealStorage(), random=RealRandomness())
    store = await open_store(host, "memory:")
    types = KnownTypes(store, host.clock)
    backend = Backend(
        host=host,
        store=store,
        writer=Writer(store, Namespaces(host.clock, store), retries_max=1, waiters_per_key_max=1),
        types=types,
        config=ApiServerConfig(spec_checks=built_in_spec_checks()),
    )
    kept = KeptPolicy(store, host.clock)
    kept.hold(policy(rule))
    subject = Subject("user", "ada", ("shop",), "certificate")
    gate = Gate(kept, store, lambda: types.now.types)

    def call(request: PutRequest) -> Any:
        return Call(MANNERS[PutRequest], request, cast(Any, None), lambda _: Identified(subject, ""))

    requests = [PutRequest(objects=[unit(number)]) for number in range(2)]
    found: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for gated in (0, 1):
            start = time.process_time()
            for number in range(CALLS):
                request = requests[number % 2]
                await put(await gate.enter(backend, request, call(request)) if gated else backend, request)
            found[gated].append((time.process_time() - start) / CALLS)
    await store.close()
    return min(found[0]), min(found[1])


@pytest.mark.parametrize("case", RULES)
def test_put_with_rights(benchmark: BenchmarkFixture, case: str) -> None:
    plain_s, gated_s = benchmark.pedantic(lambda: asyncio.run(_seconds(RULES[case])), rounds=1)
    added = (gated_s - plain_s) * 1e6
    benchmark.extra_info.update(microseconds=round(plain_s * 1e6), added_microseconds=round(added, 1))
    print(f"\n{case}: {added:.1f} µs on {plain_s * 1e6:.0f}")
