"""Versions over an engine, as etcd keeps them: one appended row a write, keyed by revision; the key index in memory.

Pure: `log` (the rows), `index` (key to revisions), `evaluate` (what a group of transactions does), `tail` (recent
changes). Shells: `recovery`, `compaction`, `watch`, and `store`, which puts them together. Applying a transaction
takes no clock and no randomness, so that replicas that apply the same transactions hold the same rows.
"""

from rube.store.mvcc.store import MvccStore

__all__ = ["MvccStore"]
