"""docs/reference/api.md names the limits as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from rube.api import selectors
from rube.host.network import CALLS_MAX, MESSAGE_BYTES_MAX, RESPONSE_BYTES_MAX
from rube.server.preconditions import PRECONDITIONS_MAX
from rube.server.validation import ROOM_BYTES
from rube.store import StoreConfig
from rube.store.etcd import store as etcd_store
from rube.transport.strangers import INTERVAL_S

DOCUMENT = (Path(__file__).parents[3] / "docs" / "reference" / "api.md").read_text()
MIB = 1024 * 1024
LIMITS = StoreConfig().limits
ROWS = {
    "| a request or a response |": f"{MESSAGE_BYTES_MAX // MIB} MiB",
    "| a page of a list": f"{RESPONSE_BYTES_MAX / MIB:g} MiB",
    "| one revision": f"{LIMITS.txn_bytes_max // MIB} MiB and {LIMITS.txn_ops_max:,} objects; an etcd takes "
    f"{etcd_store.TXN_BYTES_MAX / MIB:g} MiB and {etcd_store.TXN_OPS_MAX}",
    "| an object |": f"{LIMITS.value_bytes_max // MIB} MiB; an etcd takes {etcd_store.VALUE_BYTES_MAX // MIB} MiB. "
    f"A put leaves {ROOM_BYTES // 1024} KiB",
    "| preconditions": f"{PRECONDITIONS_MAX:,}",
    "| a label selector": f"{selectors.TEXT_CHARS_MAX:,} characters, {selectors.REQUIREMENTS_MAX} requirements",
    "| calls and watches": f"{CALLS_MAX:,}",
}


@pytest.mark.parametrize("begin", ROWS)
def test_a_limit_is_what_the_document_says(begin: str) -> None:
    (row,) = [line for line in DOCUMENT.splitlines() if line.startswith(begin)]
    assert ROWS[begin] in row


def test_the_interval_of_the_log_is_what_the_document_says() -> None:
    assert INTERVAL_S == 10
    assert "at most one in ten seconds" in DOCUMENT
