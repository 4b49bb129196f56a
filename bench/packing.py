"""The bytes of packed messages, and the processor time of packing and unpacking them.

`python -m bench.packing` prints a line for lists of several lengths, whose objects are not those that the dictionary
was trained on, and the same without the dictionary.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from functools import partial

import zstandard

from rube.api import ListResponse, Metadata, Object, Service, Unit, UnitStatus
from rube.api.types import pack
from rube.transport.packing.codec import LEVEL, Packer

LENGTHS = (1, 3, 10, 100, 1000)
BYTES_A_ROUND = 2_000_000


def unit(number: int) -> Object:
    spec = Unit(
        description="Shard of the index",
        wants=["network-online.target"],
        service=Service(
            type=Service.SIMPLE,
            exec=Service.Exec(start=[f"/usr/local/bin/indexer --shard {number} --data /srv/indexer"]),
            restart=Service.ON_FAILURE,
            environment={"MODE": "fast", "SHARD": str(number)},
        ),
    )
    status = UnitStatus(load_state="loaded", active_state="active", sub_state="running", main_pid=4000 + number)
    metadata = Metadata(
        namespace="search",
        name=f"indexer-{number}",
        uid=f"{zlib.crc32(b'%d' % number):032x}",
        labels={"node": f"worker-{number % 97}"},
        revision=10_000 + number,
        create_revision=1000 + number,
        generation=1,
    )
    metadata.create_time.FromNanoseconds(1_800_000_000_123_456_789 + number * 987_654_321)
    return Object(metadata=metadata, spec=pack(spec), status=pack(status))


def us(call: Callable[[], object], rounds: int) -> float:
    """Returns the processor time of one call in microseconds."""
    begun_s = time.process_time()
    for _ in range(rounds):
        call()
    return (time.process_time() - begun_s) / rounds * 1e6


def main() -> None:
    packer = Packer()
    plain_zstd = zstandard.ZstdCompressor(level=LEVEL)
    for length in LENGTHS:
        items = [unit(number) for number in range(length)]
        data = ListResponse(items=items, revision=20_000, store_id="0123456789abcdef").SerializeToString()
        packed = packer.pack(data)
        rounds = max(5, BYTES_A_ROUND // len(data))
        pack_us = us(partial(packer.pack, data), rounds)
        unpack_us = us(partial(packer.unpack, packed, len(data)), rounds)
        without = len(plain_zstd.compress(data)) / len(data)
        print(
            f"{length:5} objects: {len(data):7} bytes, packed {len(packed):6} ({len(packed) / len(data):.0%}; "
            f"{without:.0%} without the dictionary), {pack_us:6.1f} us to pack, {unpack_us:6.1f} us to unpack"
        )


if __name__ == "__main__":
    main()
