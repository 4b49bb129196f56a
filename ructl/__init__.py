"""The user's command: puts, reads, deletes and watches objects through the API, and nothing else.

A client like any other: it knows `rube.api`, the transport and nothing of servers, stores or nodes. Modules are
imported when their command is used, so that it starts fast.
"""

from __future__ import annotations

import os

# gRPC's core would write lines of its own to stderr. Before anything imports grpc; the environment may say otherwise.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
