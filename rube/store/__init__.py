"""Stores: versioned objects (`Store`) over durable bytes (`rube.host.Engine`), and the engines.

Here: the two ports' implementations and nothing that knows what an object is; keys and values are bytes.
"""

from rube.store.backup import back_up, restore
from rube.store.open import open_store
from rube.store.ports import Change, ChangeBatch, Compare, Lookup, Op, Page, Record, Store, StoreLimits, Txn
from rube.store.storage import RealStorage

__all__ = [
    "Change",
    "ChangeBatch",
    "Compare",
    "Lookup",
    "Op",
    "Page",
    "RealStorage",
    "Record",
    "Store",
    "StoreLimits",
    "Txn",
    "back_up",
    "open_store",
    "restore",
]
