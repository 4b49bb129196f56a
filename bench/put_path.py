"""The processor time of puts and gets in an apiserver, without transport and disk; one tree of sources beside others.

python -m bench.put_path [TREE ...]

Each tree (this one first) runs in a process of its own, and their rounds take turns, so that the ratios hold on a busy
machine too. A round is short, and its smallest time is the one that was disturbed least.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from rube.api import GetRequest, Key, Metadata, Object, PutRequest, Unit
from rube.api.types import pack
from rube.cli.real_host import real_host
from rube.server import ApiServerConfig
from rube.server.attachments import Attachments
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.service import ApiService
from rube.store import open_store
from rube.units.spec_checks import built_in_spec_checks

ROUNDS = 40
TYPE = "api.systemd.Unit"
GET = "get"
CASES = {
    "put of a spec seen before, 64 in flight": (128, 64, 1, False),
    "put of a new spec, 64 in flight": (128, 64, 1, True),
    "put of 100 objects, 8 in flight, an object": (16, 8, 100, False),
}
"""Calls in a round, calls in flight, objects in a call, and whether each call has a spec of its own."""


def unit(name: str, number: int) -> Object:
    spec = Unit(description=f"{number:08d}" + "x" * 1016)
    spec.service.exec.start.append("/bin/true")
    return Object(metadata=Metadata(namespace="system", name=name), spec=pack(spec))


async def serve_rounds() -> None:
    """Reads the names of cases from standard input, runs a round of each, and prints its microseconds a call."""
    gc.disable()
    host = real_host()
    store = await open_store(host, "memory:")
    config = ApiServerConfig(spec_checks=built_in_spec_checks())
    attachments = Attachments(host.clock, node_answers_max=config.node_answers_max, answers_max=config.answers_max)
    types, namespaces = KnownTypes(store, host.clock), Namespaces(host.clock, store)
    service = ApiService(host, store, types, namespaces, config, attachments)
    first = 0
    for line in sys.stdin:
        case = line.rstrip("\n")
        calls, in_flight, objects, new = CASES.get(case, (128, 1, 1, False))
        if case == GET:
            key = Key(type=TYPE, namespace="system", name="u1-0")
            requests = [GetRequest(key=key).SerializeToString()] * calls
        else:
            requests = [
                PutRequest(
                    objects=[unit(f"u{call}-{index}", call if new else 0) for index in range(objects)]
                ).SerializeToString()
                for call in range(first, first + calls)
            ]
            first += calls
        gc.collect()
        print(await cost_us(service, case, iter(requests), in_flight) / calls / objects, flush=True)
    os._exit(0)


async def cost_us(service: ApiService, case: str, requests: Iterator[bytes], in_flight: int) -> float:
    async def caller() -> None:
        for data in requests:
            if case == GET:
                await service.Get(GetRequest.FromString(data), None)  # type: ignore[arg-type]
            else:
                (await service.Put(PutRequest.FromString(data), None)).SerializeToString()  # type: ignore[arg-type]

    begun = time.thread_time()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return (time.thread_time() - begun) * 1e6


def compare(trees: list[Path]) -> None:
    with ExitStack() as stack:
        command = [sys.executable, "-c", "import asyncio, bench.put_path as b; asyncio.run(b.serve_rounds())"]
        processes = [
            stack.enter_context(
                subprocess.Popen(command, cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for tree in trees
        ]
        for case in (*CASES, GET):
            took: list[list[float]] = [[] for _ in trees]
            for _ in range(ROUNDS):
                for process, times in zip(processes, took, strict=True):
                    assert process.stdin is not None
                    assert process.stdout is not None
                    process.stdin.write(f"{case}\n")
                    process.stdin.flush()
                    times.append(float(process.stdout.readline()))
            print(f"{case}: {min(took[0]):.1f} us")
            for tree, times in zip(trees[1:], took[1:], strict=True):
                ratio = median(mine / other for mine, other in zip(took[0], times, strict=True))
                print(f"  of {tree}: {min(took[0]) / min(times):.2f} times by the smallest, {ratio:.2f} in the median")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trees", nargs="*", type=Path, metavar="TREE")
    compare([Path(__file__).parents[1], *parser.parse_args().trees])
