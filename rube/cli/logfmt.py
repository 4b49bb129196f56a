"""Log lines for people and programs: key=value pairs (https://brandur.org/logfmt)."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

# The attributes of every LogRecord; others were passed as `extra` and become pairs.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LogfmtFormatter(logging.Formatter):
    """`time=2026-11-22T20:00:00.000Z level=info logger=rube.server msg="listening" address=127.0.0.1:7823`."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        pairs: list[tuple[str, object]] = [
            ("time", time),
            ("level", record.levelname.lower()),
            ("logger", record.name),
            ("msg", record.getMessage()),
        ]
        pairs += sorted((name, value) for name, value in vars(record).items() if name not in _STANDARD)
        if record.exc_info:
            pairs.append(("exception", self.formatException(record.exc_info)))
        return " ".join(f"{name}={_quote(str(value))}" for name, value in pairs)


def _quote(value: str) -> str:
    plain = value.isprintable() and not any(mark in value for mark in ' "=')
    return value if value and plain else json.dumps(value, ensure_ascii=False)
