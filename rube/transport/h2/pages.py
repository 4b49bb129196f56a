"""Pages that a server answers to a plain GET: health for load balancers, metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

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
        return "\n".join(lines) + "\n"
