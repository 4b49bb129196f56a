"""The values under records' keys in etcd: the record's value, then a checksum of its key and value.

etcd checks its log, and compares its members when asked to; it does not check what it reads from its database, and
every user who may write there can put any value. The checksum exposes values that no Rube has written.
"""

from __future__ import annotations

from rube.store.checksums import CHECKSUM_BYTES, checksum_of, mismatch
from rube.store.etcd.kv_pb2 import KeyValue
from rube.store.ports import Record
from rube.store.urls import StoreUrl


def encode_value(key: bytes, value: bytes) -> bytes:
    """Returns the bytes to store in etcd."""
    return value + checksum_of(key, value)


def decode_value(key: bytes, stored: bytes) -> bytes | None:
    """Returns the value that `encode_value` encoded; None if the checksum does not match."""
    value = stored[:-CHECKSUM_BYTES]
    return value if stored[len(value) :] == checksum_of(key, value) else None


def to_record(key: bytes, kv: KeyValue, url: StoreUrl) -> Record:
    """Returns the record. Raises DataLossError that names the store, the revision and the key."""
    value = decode_value(key, kv.value)
    if value is None:
        what = f"the value in store {url}"
        raise mismatch(what, key, kv.mod_revision, "restore a backup into another prefix")
    return Record(key, value, kv.create_revision, kv.mod_revision)
