"""The cost of the entrance and of the audit log: the processor time of a put behind them over that of one without, in
one process, without transport and with the store in memory. The lines go to a real file, which is synced each second.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.test_apply import unit
from rube.api import PutRequest
from rube.cli.audit_files import RealAuditFiles
from rube.host import Host, RealClock, RealRandomness
from rube.server import ApiServerConfig
from rube.server.attachments import Attachments
from rube.server.audit.log import AuditLog
from rube.server.audit.recording import Recorder
from rube.server.entrance.entrance import Entrance
from rube.server.entrance.fairness import Fairness
from rube.server.entrance.limits import FairnessConfig
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.rights.subjects import RightsConfig
from rube.server.service import ApiService
from rube.store import RealStorage, open_store
from rube.transport import GrpcNetwork
from rube.units.spec_checks import built_in_spec_checks

CALLS = 200
ROUNDS = 60


class Context:
    """The context of a call from loopback."""

    def auth_context(self) -> dict[str, Any]:
        return {}

    def peer(self) -> str:
        return "ipv4:127.0.0.1:40000"


async def _seconds(path: Path) -> dict[str, float]:
    host = Host(name="b", clock=RealClock(), network=GrpcNetwork(), storage=RealStorage(), random=RealRandomness())
    store = await open_store(host, "memory:")
    config = ApiServerConfig(spec_checks=built_in_spec_checks())
    attachments = Attachments(host.clock, node_answers_max=1, answers_max=1)
    types = KnownTypes(store, host.clock)
    service: Any = ApiService(host, store, types, Namespaces(host.clock, store), config, attachments)
    log = AuditLog(host.clock, RealAuditFiles(path / "audit"), "b")
    log.open()
    syncing = asyncio.create_task(log.run())
    identified = RightsConfig().identified
    fairness = Fairness(host.clock, FairnessConfig())
    ways = {
        "plain": service.Put,
        "entrance": Entrance(identified, fairness, None).method(service.Put),
        "audit": Entrance(identified, fairness, Recorder(log, host.clock)).method(service.Put),
    }
    requests = [PutRequest(objects=[unit(number)]) for number in range(2)]
    found: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, put in ways.items():
            start = time.process_time()
            for number in range(CALLS):
                await put(requests[number % 2], Context())
            took_s = (time.process_time() - start) / CALLS
            found[name] = min(took_s, found.get(name, took_s))
    syncing.cancel()
    await asyncio.gather(syncing, return_exceptions=True)
    await service.close()
    await store.close()
    return found


@pytest.mark.benchmark(group="audit")
def test_put_behind_the_entrance(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    found = benchmark.pedantic(lambda: asyncio.run(_seconds(tmp_path)), rounds=1)
    added = {name: round((took_s - found["plain"]) * 1e6, 1) for name, took_s in found.items()}
    ratio = found["audit"] / found["plain"]
    benchmark.extra_info.update(added_microseconds=added, ratio=round(ratio, 2))
    print(f"\nentrance: {added['entrance']} us, audit: {added['audit']} us on {found['plain'] * 1e6:.0f}: {ratio:.2f}")
