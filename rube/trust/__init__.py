"""Certificates: a cluster's certificate authority, identities, and what they are written as.

`ports` and `identity` need nothing; the rest needs the package `cryptography` (the extra `server`). What TLS does with
the files is in `rube.transport`; who may do what, and who gets a certificate, is not decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rube.lazy import lazy_names

if TYPE_CHECKING:
    from rube.trust.authority import Authority, domain_of
    from rube.trust.identity import Identity
    from rube.trust.keys import Key

__all__ = ["Authority", "Identity", "Key", "domain_of"]

if not TYPE_CHECKING:  # to a type checker it would mean that there is every name
    __getattr__ = lazy_names(__name__, {"authority": "Authority domain_of", "identity": "Identity", "keys": "Key"})
