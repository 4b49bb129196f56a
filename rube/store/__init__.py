"""Stores: versioned objects (`Store`) over durable bytes (`rube.host.Engine`), and the engines.

Here: the two ports' implementations and nothing that knows what an object is; keys and values are bytes.
"""

from rube.store.ports import Change, ChangeBatch, Compare, Op, Page, Record, Store, StoreLimits, Txn

__all__ = ["Change", "ChangeBatch", "Compare", "Op", "Page", "Record", "Store", "StoreLimits", "Txn"]
