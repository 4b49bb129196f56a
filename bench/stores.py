"""`python -m bench.stores`: the stores beside etcd used directly, one Markdown table a question.

Puts and etcd's transactions are measured in turn, each with its server in another process than the client. The port
alone is measured one store after the other: sqlite, rocksdb, raft+sqlite and memory run in the client's process, while
etcd and mysql are reached over loopback, as they are in use: a ratio there tells what a caller gets and does not
compare databases. Ratios hold from machine to machine, absolute figures do not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from bench.run import Benches, pytest_benches
from bench.store_servers import KINDS

DIRECT = "etcd directly"
PORT = (
    ("rows/s at 100 a commit, 8 in flight", "rows_100_per_s", "{:,.0f}"),
    ("commits/s, 64 in flight", "commits_per_s", "{:,.0f}"),
    ("scan, rows/s", "scan_rows_per_s", "{:,.0f}"),
)
"""Heading, name in the results, how it is shown."""
WATCH = (
    ("idle p50, ms", "watch_p50_ms", "{:.2f}"),
    ("idle p99", "watch_p99_ms", "{:.2f}"),
    ("its commit, p50", "watch_commit_p50_ms", "{:.2f}"),
    ("8 writers p50", "watch_loaded_p50_ms", "{:.2f}"),
    ("8 writers p99", "watch_loaded_p99_ms", "{:.2f}"),
    ("its commit, p50", "watch_loaded_commit_p50_ms", "{:.2f}"),
)
DAEMON = (
    ("bytes of memory an object", "bytes_per_object", "{:,.0f}"),
    ("apiserver, seconds to start", "start_s", "{:.2f}"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000", help="objects of 1 KiB in the store")
    parser.add_argument("--kinds", default="sqlite,rocksdb,etcd", help=f"of {','.join(KINDS)}; or `all`")
    parser.add_argument("--json", type=Path, help="a file for every figure")
    arguments = parser.parse_args()
    kinds = list(KINDS) if arguments.kinds == "all" else arguments.kinds.split(",")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        parser.error(f"--kinds: {unknown[0]!r} is not one of {', '.join(KINDS)}")
    sizes = [int(size) for size in arguments.sizes.split(",")]
    os.environ.update(RUBE_BENCH_SIZES=arguments.sizes, RUBE_BENCH_KINDS=",".join(kinds))
    benches = pytest_benches("bench/test_stores.py", timeout_s=3000)
    if arguments.json:
        figures = {name: bench["extra_info"] for name, bench in benches.items()}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    print("\n".join(tables(benches, kinds, sizes)))
    return 0


def tables(benches: Benches, kinds: list[str], sizes: list[int]) -> list[str]:
    """Markdown; what was not measured is `-`."""
    lines = ["", "Puts of 100 objects of 1 KiB through an apiserver, 8 in flight, and etcd's transactions in turn:", ""]
    lines += header("store", "server", "objects/s", f"of {DIRECT}")
    for kind in kinds:
        for server in ("grpcio", "h2corn"):
            put = figures_of(benches, f"test_puts_of_100_objects[{kind}-{server}]")
            cells = (shown(put, "objects_per_s", "{:,.0f}"), shown(put, "ratio_to_etcd", "{:.0%}"))
            lines.append(row(kind, server, *cells))
    lines += ["", f"The stores by themselves, with their ratio to {DIRECT}:", ""]
    lines += header("store", "objects", *(heading for heading, _, _ in PORT), "open, s")
    for size, kind in ((size, kind) for size in sizes for kind in (DIRECT, *kinds)):
        found, peer = port_figures(benches, kind, size), port_figures(benches, DIRECT, size)
        figures = [shown(found, name, how) + of_peer(found, peer, name) for _, name, how in PORT]
        lines.append(row(kind, f"{size:,}", *figures, shown(found, "open_s", "{:.2f}")))
    lines += ["", "Watch: from the call of a commit to the delivery of its change, in ms:", ""]
    lines += header("store", "objects", *(heading for heading, _, _ in WATCH))
    for size, kind in ((size, kind) for size in sizes for kind in (DIRECT, *kinds)):
        found = port_figures(benches, kind, size)
        lines.append(row(kind, f"{size:,}", *(shown(found, name, how) for _, name, how in WATCH)))
    lines += ["", "The apiserver's process:", "", *header("store", "objects", *(heading for heading, _, _ in DAEMON))]
    for size, kind in ((size, kind) for size in sizes for kind in kinds):
        found = figures_of(benches, f"test_apiserver_memory_and_start[{kind}-{size}]")
        lines.append(row(kind, f"{size:,}", *(shown(found, name, how) for _, name, how in DAEMON)))
    return lines


def port_figures(benches: Benches, kind: str, size: int) -> dict[str, float]:
    name = f"test_etcd_directly[{size}]" if kind == DIRECT else f"test_store_at_size[{kind}-{size}]"
    return figures_of(benches, name)


def figures_of(benches: Benches, name: str) -> dict[str, float]:
    """Empty if that was not measured."""
    return benches[name]["extra_info"] if name in benches else {}


def shown(found: dict[str, float], name: str, how: str) -> str:
    return how.format(found[name]) if name in found else "-"


def of_peer(found: dict[str, float], peer: dict[str, float], name: str) -> str:
    return f" ({found[name] / peer[name]:.2f}×)" if found is not peer and name in found and name in peer else ""


def header(*names: str) -> list[str]:
    return [row(*names), row(*("---" for _ in names))]


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
