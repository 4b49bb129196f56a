"""A store that a Raft group of apiservers keeps: each member has all of it on its own engine.

Transactions are proposed in groups and applied to the MVCC index of every member in one order (`machine`); reads ask
the group how far they have to wait (`store`). `rube.group` manages the group's members.
"""

from __future__ import annotations

from rube.store.replicated.store import ReplicatedStore

__all__ = ["ReplicatedStore"]
