"""The composition roots: the commands rube and rubelet.

`main` has the commands of rube, each in a module of its name (`store`, `raft`, `sim`, …); `rubelet` is the other
command, and `node` its code. A module is imported when its command is used. All daemons share `daemon`, `options`,
`logfmt`, `lines` and `open_files`; `real_host` and `drivers` choose their adapters; `local` starts several of them for
`up`, `demo` and tests. What a command does beyond its options is in the package that it is about.
"""

from __future__ import annotations

import os

# gRPC's core writes lines of its own to stderr, in front of the error that says the same and the remedy. Before
# anything imports grpc; `GRPC_VERBOSITY=DEBUG` in the environment brings them back.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
