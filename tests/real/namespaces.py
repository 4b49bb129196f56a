"""Network namespaces on one machine, so that partitions are real: packets are lost, and neither end hears of it.

Each has an address of its own and a wire to a bridge, which this process, too, has an address on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import count
from typing import Self

_BLOCKS = count()
SUBNET = "198.18.{number}"
"""A network for benchmarks (RFC 2544), which is routed nowhere."""


def missing() -> str:
    """The reason why there can be none here; empty if there can."""
    if shutil.which("ip") is None:
        return "ip is not installed: apt-get install iproute2"
    return "" if os.geteuid() == 0 else "network namespaces need root"


class Namespaces:
    """Yields so many of them, numbered from 0, until the end of the block: end first what runs inside."""

    def __init__(self, number: int) -> None:
        self._count = number
        block = next(_BLOCKS)  # the kernel takes its time to remove those of the last one
        self._token = f"{os.getpid():x}{block:x}"
        self._subnet = SUBNET.format(number=(os.getpid() + block) % 256)
        self._bridge = f"rb{self._token}"

    def __enter__(self) -> Self:
        try:
            _ip("link", "add", self._bridge, "type", "bridge")
            _ip("address", "add", f"{self._subnet}.1/24", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
            for number in range(self._count):
                self._add(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for number in range(self._count):
            _ip("netns", "delete", self._name(number), check=False)
        _ip("link", "delete", self._bridge, check=False)

    def address(self, number: int) -> str:
        return f"{self._subnet}.{number + 2}"

    def command(self, number: int) -> list[str]:
        """The words that stand before a command that is to run inside."""
        return ["ip", "netns", "exec", self._name(number)]

    def isolate(self, number: int) -> None:
        """Cuts it off: nothing arrives there, and nothing comes from there."""
        _ip("link", "set", self._wire(number), "down")

    def part(self, number: int, other: int) -> None:
        """These two from each other."""
        for one, far in ((number, other), (other, number)):
            _ip("-n", self._name(one), "route", "add", "blackhole", f"{self.address(far)}/32")

    def heal(self) -> None:
        for number in range(self._count):
            _ip("link", "set", self._wire(number), "up")
            _ip("-n", self._name(number), "route", "flush", "type", "blackhole")

    def _add(self, number: int) -> None:
        name, wire = self._name(number), self._wire(number)
        _ip("netns", "add", name)
        _ip("link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", wire, "master", self._bridge, "up")
        _ip("-n", name, "address", "add", f"{self.address(number)}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "link", "set", "lo", "up")

    def _name(self, number: int) -> str:
        return f"rube-{self._token}-{number}"

    def _wire(self, number: int) -> str:
        return f"rw{self._token}-{number}"


def _ip(*arguments: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    assert done.returncode == 0 or not check, f"ip {' '.join(arguments)}: {done.stderr}"
