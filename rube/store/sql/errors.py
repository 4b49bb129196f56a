"""The translation of a server's errors to Rube's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rube.api.errors import FailedPreconditionError, ResourceExhaustedError, RubeError, UnavailableError


class DatabasePlace(NamedTuple):
    """The database, its server and the user: an error names these, without the password."""

    server: str
    database: str
    user: str


class RefusedError(Exception):
    """The server answered a statement with an error; the connection can go on."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} (error {code})")
        self.code = code
        self.text = text


class LostError(Exception):
    """The connection ended, or there was no answer in time. Whether the statement took effect is unknown."""


PASSING_CODES = frozenset({1205, 1213, 1020, 8002, 8005, 8022, 8028, 9004, 9007})
"""A conflict: nothing was written, and another attempt may succeed. MariaDB and MySQL: lock wait timeout, deadlock,
record changed. TiDB: write conflicts, locks that could not be resolved, schema being changed."""
LOST_CODES = frozenset({0, 1053, 1152, 1159, 1161, 1184, 1317, 1927, 2003, 2006, 2013, 2014, 2055, 4031})
"""The server ends the connection, or is about to."""
NO_SUCH_TABLE = 1146
TLS_FAILED = 2026
READ_ONLY_CODES = frozenset({1290, 1792, 1836, 4047})

_GRANT = "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP ON `{database}`.* TO '{user}'@'…'"
_CREDENTIALS = "check the user in the URL and the password (password_file=…)"
_FULL = "make room there, then writes go on"
_BUSY = "it is tried again; if it lasts, look at the server"
_READ_ONLY = "point the URL at the primary, or SET GLOBAL read_only = 0 there"

# The server's code: (class, remedy).
_REMEDIES: Mapping[int, tuple[type[RubeError], str]] = {
    3: (ResourceExhaustedError, _FULL),
    1021: (ResourceExhaustedError, _FULL),
    1026: (ResourceExhaustedError, _FULL),
    1030: (ResourceExhaustedError, _FULL),
    1114: (ResourceExhaustedError, _FULL),
    1118: (ResourceExhaustedError, "make the value smaller, or raise innodb_log_file_size"),
    1153: (ResourceExhaustedError, "raise max_allowed_packet on the server"),
    8025: (ResourceExhaustedError, "make the value smaller, or raise performance.txn-entry-size-limit"),
    8004: (ResourceExhaustedError, "write less at once, or raise performance.txn-total-size-limit"),
    1044: (FailedPreconditionError, "it needs " + _GRANT),
    1142: (FailedPreconditionError, "it needs " + _GRANT),
    1143: (FailedPreconditionError, "it needs " + _GRANT),
    1227: (FailedPreconditionError, "it needs " + _GRANT),
    1370: (FailedPreconditionError, "it needs " + _GRANT),
    1045: (FailedPreconditionError, _CREDENTIALS),
    1698: (FailedPreconditionError, _CREDENTIALS),
    1130: (FailedPreconditionError, "CREATE USER '{user}'@'…' for the host that this process runs on"),
    1049: (FailedPreconditionError, "CREATE DATABASE `{database}`"),
    1665: (FailedPreconditionError, "SET GLOBAL binlog_format = 'ROW' on the server"),
    TLS_FAILED: (
        FailedPreconditionError,
        "check the URL's TLS options (ca, cert, key) against the server's certificate",
    ),
    3159: (FailedPreconditionError, "it takes only TLS: add tls=true, or ca=FILE, to the URL"),
    **dict.fromkeys(READ_ONLY_CODES, (UnavailableError, _READ_ONLY)),
    1146: (FailedPreconditionError, "a table of the store is gone: restore a backup"),
    1040: (UnavailableError, "raise max_connections on the server, or run fewer apiservers"),
    1203: (UnavailableError, "raise max_user_connections on the server, or run fewer apiservers"),
    1129: (UnavailableError, "FLUSH HOSTS on the server"),
    9001: (UnavailableError, _BUSY),
    9002: (UnavailableError, _BUSY),
    9003: (UnavailableError, _BUSY),
    9005: (UnavailableError, _BUSY),
}


def translate(error: RefusedError | LostError, place: DatabasePlace) -> RubeError:
    """Returns the error for the store's caller: the server, its answer, the remedy."""
    if isinstance(error, LostError):
        return UnavailableError(
            f"the database server at {place.server} does not answer ({error}): is it running, and is the address right?"
        )
    said = f"the database server at {place.server} says: {error}"
    if error.code in PASSING_CODES:
        return UnavailableError(f"{said}; it was tried several times: {_BUSY}")
    cls, remedy = _REMEDIES.get(error.code, (UnavailableError, "see the server's own log"))
    remedy = remedy.format(database=place.database, user=place.user)
    return cls(f"{said} (database {place.database!r}, user {place.user!r}): {remedy}")
