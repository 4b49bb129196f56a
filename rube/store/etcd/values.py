"""What stands in etcd under a record's key: the value, and after it a checksum of the record's key and value.

etcd checks its log, and compares its members when asked to; of what stands in its database it checks nothing when it is
read, and anybody who may write there can put anything. The checksum tells a value that no Rube has written.
"""

from __future__ import annotations

from rube.store.checksums import CHECKSUM_BYTES, checksum_of, mismatch
from rube.store.etcd.kv_pb2 import KeyValue
from rube.store.ports import Record
from rube.store.urls import StoreUrl


def encode_value(key: bytes, value: bytes) -> bytes:
    """The bytes for etcd."""
    return value + checksum_of(key, value)


def decode_value(key: bytes, stored: bytes) -> bytes | None:
    """The value of which `encode_value` made these bytes; None if it did not."""
    value = stored[:-CHECKSUM_BYTES]
    return value if stored[len(value) :] == checksum_of(key, value) else None


def to_record(key: bytes, kv: KeyValue, url: StoreUrl) -> Record:
    """Raises DataLossError that names the store, the revision and the key."""
    value = decode_value(key, kv.value)
    if value is None:
        what = f"the value in store {url}"
        raise mismatch(what, key, kv.mod_revision, "restore a backup into another prefix")
    return Record(key, value, kv.create_revision, kv.mod_revision)
