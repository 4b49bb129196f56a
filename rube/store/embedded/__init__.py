"""A store on an engine of its own, which the daemons embed: SQLite, RocksDB, memory.

`store` joins the versions of `rube.store.mvcc` with one engine; `backend` opens, copies and checks it.
"""

from __future__ import annotations

from rube.store.embedded.store import MvccStore

__all__ = ["MvccStore"]
