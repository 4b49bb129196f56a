"""The composition roots: the commands rube and rubelet."""

from __future__ import annotations

import os

# gRPC's core writes lines of its own to stderr, in front of the error that says the same and the remedy. Before
# anything imports grpc; `GRPC_VERBOSITY=DEBUG` in the environment brings them back.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
