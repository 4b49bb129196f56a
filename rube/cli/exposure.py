"""The warning at each start of a listener that other machines reach: Rube does not authenticate callers yet."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from rube.api.addresses import is_loopback, split_host_port

_LOG = logging.getLogger("rube.security")


def exposed(addresses: Iterable[str]) -> list[str]:
    """Returns those of the addresses that other machines may reach: all but Unix sockets and loopback."""
    return [address for address in addresses if not _is_local(address)]


def warn_of_exposure(addresses: Iterable[str]) -> None:
    """One warning that names them, or nothing."""
    if found := exposed(addresses):
        _LOG.warning(
            "every caller that reaches %s is root on every node: Rube does not authenticate, so let only trusted "
            "machines reach it (README.md, Security)",
            ", ".join(found),
        )


def _is_local(address: str) -> bool:
    return address.startswith("unix:") or is_loopback(split_host_port(address)[0])
