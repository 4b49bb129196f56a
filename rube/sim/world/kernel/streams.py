"""Named random streams: one seed, any number of independent generators, each known by its name alone."""

from __future__ import annotations

import hashlib
import random  # noqa: TID251 - the adapter that makes seeded generators


class RandomStreams:
    """Hands out one `random.Random` per name, seeded with sha256 of the world's seed and the name.

    A stream depends on nothing but seed and name: asking for a new one shifts no other, and PYTHONHASHSEED plays
    no part. The same name gives the same, advancing, generator.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._streams: dict[str, random.Random] = {}

    def stream(self, name: str) -> random.Random:
        """Returns the generator called `name`, made on first use."""
        stream = self._streams.get(name)
        if stream is None:
            digest = hashlib.sha256(f"{self._seed}/{name}".encode()).digest()
            stream = self._streams[name] = random.Random(int.from_bytes(digest, "big"))
        return stream


class HostRandomness:
    """The Randomness port of one host: its streams are the world's, under the host's name."""

    def __init__(self, streams: RandomStreams, host: str) -> None:
        self._streams = streams
        self._host = host

    def stream(self, name: str) -> random.Random:
        """Returns the stream of that name on this host; asked for twice, it goes on where it was."""
        return self._streams.stream(f"host/{self._host}/{name}")

    def uid(self) -> str:
        """Returns a new identifier of 32 hexadecimal digits."""
        return f"{self.stream('uid').getrandbits(128):032x}"
