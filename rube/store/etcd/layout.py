"""The keys of a store in etcd: all under one prefix, records and metadata apart."""

from __future__ import annotations

from rube.api.errors import InvalidArgumentError

DEFAULT_PREFIX = "rube"
PREFIX_BYTES_MAX = 256
# Below the prefix: `k/` and a record's key; `m/` and the name of a piece of metadata.
_RECORDS = "k"
_METADATA = "m"


class Layout:
    """The keys of one store. `PREFIX/k/` + key holds a record (`values`); `PREFIX/m/` holds the store's metadata.

    `PREFIX/m/store` describes the store; `PREFIX/m/tick` is empty, and is written to move the revision on.
    """

    def __init__(self, prefix: str) -> None:
        """Raises InvalidArgumentError for a prefix that could lie among the records of another store."""
        prefix = prefix or DEFAULT_PREFIX
        encoded = prefix.encode()
        if len(encoded) > PREFIX_BYTES_MAX:
            raise InvalidArgumentError(f"prefix {prefix[:40]}… of etcd's keys is longer than {PREFIX_BYTES_MAX} bytes")
        if {_RECORDS, _METADATA} & set(prefix.split("/")[1:]):
            raise InvalidArgumentError(
                f"prefix {prefix!r} of etcd's keys has a part {_RECORDS!r} or {_METADATA!r}, which stores use inside: "
                "choose another prefix"
            )
        self.prefix = prefix
        # All keys of this store are in [start, end); so are stores whose prefix begins with this store's and a slash.
        self.start = encoded + b"/"
        self.end = encoded + b"0"  # the byte after the slash
        self.records = self.start + _RECORDS.encode() + b"/"
        self.records_end = self.records[:-1] + b"0"
        self.descriptor_key = self.start + _METADATA.encode() + b"/store"
        self.tick_key = self.start + _METADATA.encode() + b"/tick"

    def key(self, key: bytes) -> bytes:
        """Returns etcd's key of a record. It keeps the order of keys."""
        return self.records + key

    def may_be_of_another_store(self, key: bytes) -> bool:
        """Returns whether the key looks like one of a store whose prefix begins with this one's."""
        place, _, _ = key[len(self.start) :].partition(b"/")
        return place not in (b"k", b"m") and (b"/k/" in key[len(self.start) :] or b"/m/" in key[len(self.start) :])

    def record_key(self, key: bytes) -> bytes | None:
        """Returns the record's key of etcd's key; None if it is no record of this store."""
        return key[len(self.records) :] if key.startswith(self.records) else None
