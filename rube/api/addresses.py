"""Network addresses in text: HOST:PORT, an IPv6 host in brackets. Pure."""

from __future__ import annotations

import ipaddress

from rube.api.errors import InvalidArgumentError

ANY_HOSTS = ("0.0.0.0", "[::]")
"""A server that listens there is reached at every address of its machine."""
PORT_MAX = 65535
_PORT_DIGITS_MAX = 5
_SCHEMES = frozenset({"http", "https", "grpc", "grpcs", "tcp"})


def split_host_port(address: str) -> tuple[str, str]:
    """Returns the host, with the brackets that it has, and the port as written; "" for a missing part."""
    host, colon, port = address.rpartition(":")
    return (host, port) if colon and not address.endswith("]") else (address, "")


def port_number(text: str) -> int | None:
    """Returns the port, from 0 to 65535; None if the text is not one."""
    if not (text.isascii() and text.isdigit() and len(text) <= _PORT_DIGITS_MAX):
        return None
    return int(text) if int(text) <= PORT_MAX else None


def check_host_port(address: str) -> tuple[str, int]:
    """Returns the host and port of `HOST:PORT`. Raises InvalidArgumentError for anything else."""
    scheme, separator, rest = address.partition("://")
    if separator and scheme.lower() in _SCHEMES:
        meant = rest.partition("/")[0]
        raise InvalidArgumentError(
            f"cannot use address {address!r}: leave {scheme}:// out, since Rube speaks gRPC and no HTTP/1: write "
            f"{meant if split_host_port(meant)[1] else f'{meant}:7823'}",
            address=address,
        )
    host, text = split_host_port(address)
    if bad := next((char for char in host if char.isspace() or not char.isprintable()), ""):
        raise InvalidArgumentError(
            f"cannot use address {address!r}: a host name cannot have U+{ord(bad):04X}: remove it", address=address
        )
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise InvalidArgumentError(
            f"cannot use address {address!r}: a host has no ':' unless it is an IPv6 address in brackets: write "
            "HOST:PORT (such as [::1]:7823)",
            address=address,
        )
    port = port_number(text)
    if not host or port is None:
        raise InvalidArgumentError(
            f"cannot use address {address!r}: write HOST:PORT (such as 127.0.0.1:7823) or unix:/path", address=address
        )
    return host, port


def is_loopback(host: str) -> bool:
    """Returns whether that host is this machine and no other. A name other than localhost may be any machine."""
    name = host.strip("[]").partition("%")[0]
    if name == "localhost":
        return True
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)
