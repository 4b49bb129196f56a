"""The output of `rube store salvage`."""

from __future__ import annotations

from typing import Any

from rube.store import parse_store_url
from rube.store.maintenance import Salvaged

_SHOWN_MAX = 100
_KEY_BYTES_SHOWN_MAX = 256


def salvage_json(url: str, to: str, salvaged: Salvaged) -> dict[str, Any]:
    """Returns JSON for programs: `lost` and `lost_writes` name what is not in the new store, `lost_count` counts the
    former."""
    return {
        "url": str(parse_store_url(url)),
        "to": str(parse_store_url(to)),
        "source_store_id": salvaged.source_id,
        "store_id": salvaged.store_id,
        "revision": salvaged.revision,
        "kept": salvaged.kept,
        "kept_older": salvaged.older,
        "lost_count": salvaged.values_lost,
        "lost": [
            {"key": _key(value.key), "revision": value.revision, "older_revision": value.older_revision}
            for value in salvaged.values
        ],
        "lost_writes": [
            {"first_revision": first, "last_revision": last, "seems_to_be_key": _key(key)}
            for first, last, key in salvaged.writes
        ],
        "uncertain_keys": salvaged.uncertain,
        "damaged_history": salvaged.history,
        "findings": salvaged.findings,
    }


def salvage_text(to: str, salvaged: Salvaged) -> str:
    """Returns text for users: a line for each loss, then the content of the new store."""
    lines = [_value_line(value.key, value.revision, value.older_revision) for value in salvaged.values[:_SHOWN_MAX]]
    if salvaged.values_lost > _SHOWN_MAX:
        lines.append(f"and {salvaged.values_lost - _SHOWN_MAX} more keys: --json names them")
    for first, last, key in salvaged.writes[:_SHOWN_MAX]:
        revisions = f"revision {first}" if first == last else f"revisions {first} to {last}"
        what = f"seems to be of key {_key(key)!r}" if key else "their keys are unknown"
        lines.append(f"{revisions}: writes are lost; {what}")
    if len(salvaged.writes) > _SHOWN_MAX:
        lines.append(f"and {len(salvaged.writes) - _SHOWN_MAX} more places: --json names them")
    lines += salvaged.findings
    if salvaged.uncertain:
        lines.append(
            f"{salvaged.uncertain} keys were last written before a write that is lost, or that may be: what is kept of "
            "them may be older than it was, or have been deleted"
        )
    if salvaged.history:
        lines.append(f"{salvaged.history} damaged values were history: nothing is lost by them")
    kept = f"{parse_store_url(to)}: {salvaged.kept} objects at revision {salvaged.revision}"
    older = f", {salvaged.older} of them with an older value" if salvaged.older else ""
    lines.append(f"{kept}{older}, id {salvaged.store_id}; {salvaged.values_lost} keys' newest values lost")
    return "\n".join(lines)


def _value_line(key: bytes, revision: int, older_revision: int) -> str:
    older = f"; revision {older_revision} of it is whole (--older)" if older_revision else ""
    return f"{_key(key)}: its newest value, of revision {revision}, is lost{older}"


def _key(key: bytes) -> str:
    return key[:_KEY_BYTES_SHOWN_MAX].decode("utf-8", "backslashreplace")
