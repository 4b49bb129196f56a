"""Pages that a server answers to a plain GET: health for load balancers, metrics for Prometheus.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from grpc import StatusCode

TEXT = b"text/plain; charset=utf-8"
PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
HEALTH_PATHS = frozenset(("/healthz", "/readyz"))
PATHS = (*sorted(HEALTH_PATHS), "/livez", "/metrics")
OTHER_METHOD = "unknown"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    status: int
    content_type: bytes
    body: bytes


@dataclass(slots=True)
class Pages:
    """The pages of one server."""

    is_serving: Callable[[], bool] = lambda: True
    """True if the health service says SERVING of the whole server."""
    gauges: Callable[[], Mapping[str, float]] = dict
    """Further values of the metrics, by name."""
    counts: dict[tuple[str, StatusCode], int] = field(default_factory=dict)
    """The ended calls, by method and status."""

    def count(self, method: str, code: StatusCode) -> None:
        """Counts an ended call; `method` comes from a bounded set."""
        key = (method, code)
        self.counts[key] = self.counts.get(key, 0) + 1

    def page(self, path: str, running: Iterable[str]) -> Page | None:
        """Returns the page, given the methods of the running calls; None for another path."""
        if path in HEALTH_PATHS:
            return Page(200, TEXT, b"ok\n") if self.is_serving() else Page(503, TEXT, b"not serving\n")
        if path == "/livez":
            return Page(200, TEXT, b"ok\n")
        if path == "/metrics":
            return Page(200, PROMETHEUS, self._metrics(running).encode())
        return None

    def _metrics(self, running: Iterable[str]) -> str:
        now: dict[str, int] = {}
        for method in running:
            now[method] = now.get(method, 0) + 1
        lines = [
            "# HELP rube_calls_total Calls that have ended, by method and gRPC status.",
            "# TYPE rube_calls_total counter",
            *(
                f'rube_calls_total{{method="{method}",code="{code.name}"}} {count}'
                for (method, code), count in sorted(self.counts.items(), key=lambda item: (item[0][0], item[0][1].name))
            ),
            "# HELP rube_calls_running Calls and watches that run now, by method.",
            "# TYPE rube_calls_running gauge",
            *(f'rube_calls_running{{method="{method}"}} {count}' for method, count in sorted(now.items())),
        ]
        for name, value in sorted(self.gauges().items()):
            lines += [f"# TYPE {name} gauge", f"{name} {value:g}" if value % 1 else f"{name} {int(value)}"]
        lines += _process()
        return "\n".join(lines) + "\n"


def _process() -> list[str]:
    """Returns the metrics that Prometheus' client libraries have of a process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    resident_bytes = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return [
        "# HELP process_cpu_seconds_total Processor time of this server's process.",
        "# TYPE process_cpu_seconds_total counter",
        f"process_cpu_seconds_total {used.ru_utime + used.ru_stime:.2f}",
        "# HELP process_resident_memory_bytes Memory that this server's process has now.",
        "# TYPE process_resident_memory_bytes gauge",
        f"process_resident_memory_bytes {resident_bytes}",
        "# HELP process_open_fds Files and connections that this server's process has open.",
        "# TYPE process_open_fds gauge",
        f"process_open_fds {len(os.listdir('/proc/self/fd'))}",
    ]
