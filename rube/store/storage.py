"""The real machine's storage: engines by URL."""

from __future__ import annotations

from pathlib import Path

from rube.api.errors import InvalidArgumentError
from rube.host import Engine
from rube.store.engines.memory import MemoryEngine, VolatileDisk
from rube.store.engines.sqlite import SqliteEngine

SCHEMES = ("memory:", "sqlite:///relative/path", "sqlite:////absolute/path")


class RealStorage:
    """`rube.host.Storage` of a real machine. `memory:` is a new and empty engine each time."""

    async def open(self, url: str) -> Engine:
        scheme, path = parse_store_url(url)
        if scheme == "memory":
            return await MemoryEngine.open(VolatileDisk(), url)
        return await SqliteEngine.open(Path(path))


def parse_store_url(url: str) -> tuple[str, str]:
    """(scheme, path) of an engine's URL: `sqlite:///rube.db` gives ("sqlite", "rube.db").

    Raises InvalidArgumentError that lists the known schemes.
    """
    scheme, colon, rest = url.partition(":")
    if colon and scheme == "memory":
        return scheme, rest
    if colon and scheme == "sqlite":
        path = rest.removeprefix("///")
        if path == rest or path in ("", "/"):
            raise InvalidArgumentError(
                f"store URL {url!r} names no file: write sqlite:///relative/path or sqlite:////absolute/path"
            )
        return scheme, path
    raise InvalidArgumentError(f"store URL {url!r} is not known: use one of {', '.join(SCHEMES)}")
