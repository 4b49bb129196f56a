"""Certificates: a cluster's certificate authority, identities, and what they are written as.

This package needs the package `cryptography` (the extra `server`), and nothing of Rube but its errors. What TLS does
with the files is in `rube.transport`; who may do what is not decided here.
"""

from __future__ import annotations

from rube.trust.authority import Authority, domain_of
from rube.trust.identity import Identity
from rube.trust.keys import Key

__all__ = ["Authority", "Identity", "Key", "domain_of"]
