"""A store on an engine of its own, as the daemons embed it: SQLite, RocksDB, memory.

`store` puts together what `rube.store.mvcc` knows of versions with one engine; `backend` opens, copies and checks it.
"""

from rube.store.embedded.store import MvccStore

__all__ = ["MvccStore"]
