"""Stores: versioned objects (`Store`) over durable bytes (`rube.host.Engine`), and the engines.

This package implements both ports and does not know what an object is: keys and values are bytes. A URL names a store
(`urls`); `backends` opens it.
"""

from __future__ import annotations

from rube.store.backends import open_store
from rube.store.config import StoreConfig
from rube.store.ports import Change, ChangeBatch, Compare, Lookup, Op, Page, Record, Store, StoreLimits, Txn
from rube.store.storage import RealStorage
from rube.store.urls import StoreUrl, parse_store_url

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
    "StoreConfig",
    "StoreLimits",
    "StoreUrl",
    "Txn",
    "open_store",
    "parse_store_url",
]
