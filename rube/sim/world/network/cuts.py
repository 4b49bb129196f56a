"""The cut routes between hosts, with their reasons: a route is open again once every reason is gone."""

from __future__ import annotations

from collections.abc import Iterable


class Cuts:
    """Isolated hosts, and directions between two hosts. Knows names alone."""

    def __init__(self) -> None:
        self._isolated: dict[str, None] = {}
        self._pairs: dict[tuple[str, str], None] = {}

    def block(self, source: str, target: str) -> bool:
        """Returns whether nothing passes from `source` to `target`. A host always reaches itself."""
        if source == target:
            return False
        return source in self._isolated or target in self._isolated or (source, target) in self._pairs

    def isolate(self, host: str) -> None:
        self._isolated[host] = None

    def rejoin(self, host: str) -> None:
        """Undoes `isolate`."""
        self._isolated.pop(host, None)

    def part(self, sources: Iterable[str], targets: Iterable[str]) -> None:
        """Lets nothing pass from one group to the other."""
        targets = list(targets)
        self._pairs |= {(source, target): None for source in sources for target in targets}

    def unite(self, hosts_a: Iterable[str], hosts_b: Iterable[str]) -> None:
        """Undoes `part` between two groups, both ways; isolated hosts stay so."""
        a, b = set(hosts_a), set(hosts_b)
        self._pairs = {
            (source, target): None
            for source, target in self._pairs
            if not ((source in a and target in b) or (source in b and target in a))
        }

    def heal(self, hosts: Iterable[str]) -> None:
        """Undoes everything that names one of these hosts; other isolated hosts stay so."""
        for host in hosts:
            self.rejoin(host)
            self._pairs = {pair: None for pair in self._pairs if host not in pair}

    def clear(self) -> None:
        self._isolated.clear()
        self._pairs.clear()
