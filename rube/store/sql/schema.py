"""The tables, and the settings that a server needs to hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rube.api.errors import DataLossError, FailedPreconditionError
from rube.store.sql.errors import NO_SUCH_TABLE, DatabasePlace, LostError, RefusedError, translate
from rube.store.sql.pool import Pool
from rube.store.sql.rows import HEAD_BYTES
from rube.store.sql.session import Session

FORMAT = 1
"""The format of the tables. A store with a newer one is refused, an older one would be converted here."""
READY, LOADING = b"ready", b"loading"

TABLES = (
    """CREATE TABLE IF NOT EXISTS rube_log (
        position BIGINT NOT NULL,
        head VARBINARY({head}) NOT NULL,
        tail VARBINARY(4096) NOT NULL,
        value LONGBLOB NULL,
        size INT NOT NULL,
        create_revision BIGINT NOT NULL,
        previous BIGINT NOT NULL,
        checksum BIGINT NOT NULL,
        token VARBINARY(16) NOT NULL,
        PRIMARY KEY (position) /*T![clustered_index] CLUSTERED */,
        KEY by_key (head, position)
    ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC""",
    """CREATE TABLE IF NOT EXISTS rube_current (
        head VARBINARY({head}) NOT NULL,
        tail_hash VARBINARY(24) NOT NULL,
        tail VARBINARY(4096) NOT NULL,
        position BIGINT NOT NULL,
        create_revision BIGINT NOT NULL,
        PRIMARY KEY (head, tail_hash) /*T![clustered_index] CLUSTERED */
    ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC""",
    """CREATE TABLE IF NOT EXISTS rube_flush (
        slot INT NOT NULL,
        number BIGINT NOT NULL,
        PRIMARY KEY (slot) /*T![clustered_index] CLUSTERED */
    ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC""",
    """CREATE TABLE IF NOT EXISTS rube_head (
        id INT NOT NULL,
        format INT NOT NULL,
        state VARBINARY(16) NOT NULL,
        store_id VARBINARY(32) NOT NULL,
        revision BIGINT NOT NULL,
        compact_revision BIGINT NOT NULL,
        swept_revision BIGINT NOT NULL,
        settled BIGINT NOT NULL DEFAULT 0,
        PRIMARY KEY (id) /*T![clustered_index] CLUSTERED */
    ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC""",
)
"""head: one row, whose lock puts all transactions in one order. log: every write. current: the newest put of every key
that exists. flush: see `durability`. Columns of bytes have no collation, so they compare as bytes."""
NAMES = ("rube_current", "rube_flush", "rube_head", "rube_log")

_VARIABLES = (
    "binlog_format",
    "innodb_flush_log_at_trx_commit",
    "log_bin",
    "max_allowed_packet",
    "read_only",
    "sync_binlog",
    "version",
    "wsrep_on",
)


class Head(NamedTuple):
    """The one row of `rube_head`."""

    store_id: str
    revision: int
    compact_revision: int
    """The oldest revision that can be read."""
    swept_revision: int
    """Compaction has deleted all rows that only revisions before this one see."""


NO_HEAD = Head("", 0, 0, 0)
"""The head of a database without a store."""


class Server(NamedTuple):
    """The properties of a server."""

    version: str
    packet_bytes_max: int

    @property
    def is_tidb(self) -> bool:
        return "TiDB" in self.version


# Bytes of a packet for everything but a value, and the factor by which quoting may grow a value.
_PACKET_RESERVE_BYTES = 32 * 1024
_QUOTED_BYTES_MAX = 2


def value_bytes_max(server: Server) -> int:
    """Returns the most bytes of a value, which must fit, quoted and with its key, into a packet of the server."""
    return (server.packet_bytes_max - _PACKET_RESERVE_BYTES) // _QUOTED_BYTES_MAX


HEAD_COLUMNS = "revision, compact_revision, swept_revision, store_id"


def decode_head(columns: Sequence[Any]) -> Head:
    revision, compact_revision, swept_revision, store_id = columns
    return Head(store_id.decode(), revision, compact_revision, swept_revision)


async def inspect_server(pool: Pool) -> Server:
    """Raises FailedPreconditionError that names the setting of the server that would lose acknowledged writes."""
    place = pool.target.place
    names = ", ".join(f"'{name}'" for name in _VARIABLES)
    rows = await pool.read(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
    found = {_text(name).lower(): _text(value).upper() for name, value in rows}
    server = Server(
        str((await pool.read("SELECT VERSION()"))[0][0]), int(found.get("max_allowed_packet", "0")) or 1024 * 1024
    )
    if not server.is_tidb:  # on TiDB these names have no meaning: a commit is in a majority's Raft logs
        check_durable(found, place)
    if found.get("wsrep_on") == "ON":
        raise FailedPreconditionError(
            f"the database server at {place.server} is part of a Galera cluster, whose members may show an older state "
            "than another has acknowledged: use one server, or TiDB"
        )
    return server


def check_durable(found: dict[str, str], place: DatabasePlace) -> None:
    """Raises FailedPreconditionError unless InnoDB, with these variables, keeps what it has acknowledged."""
    flush = found.get("innodb_flush_log_at_trx_commit", "1")
    has_binlog = found.get("log_bin") in ("ON", "1")
    if flush not in ("1", "3"):
        raise _lossy(
            place, f"innodb_flush_log_at_trx_commit = {flush}", "SET GLOBAL innodb_flush_log_at_trx_commit = 1"
        )
    if has_binlog and found.get("sync_binlog", "1") != "1":
        raise _lossy(place, f"sync_binlog = {found['sync_binlog']}", "SET GLOBAL sync_binlog = 1")
    if has_binlog and found.get("binlog_format") == "STATEMENT":
        raise FailedPreconditionError(
            f"the database server at {place.server} has binlog_format = STATEMENT, which cannot log transactions of "
            "isolation level READ COMMITTED: SET GLOBAL binlog_format = 'ROW', and in its configuration file"
        )


def _lossy(place: DatabasePlace, setting: str, remedy: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"the database server at {place.server} has {setting} and so would lose acknowledged writes with its power: "
        f"{remedy}, and in its configuration file"
    )


async def create(pool: Pool, store_id: str) -> None:
    """Creates the missing parts of an empty store; of several concurrent callers one wins."""
    try:
        async with pool.session() as session:
            await create_tables(session)
            await session.query(
                "INSERT IGNORE INTO rube_head (id, format, state, store_id, revision, compact_revision, swept_revision)"
                " VALUES (1, %s, %s, %s, 0, 0, 0)",
                (FORMAT, READY, store_id.encode()),
            )
    except (RefusedError, LostError) as error:
        raise translate(error, pool.target.place) from error


async def create_tables(session: Session) -> None:
    for statement in TABLES:
        await session.query(statement.format(head=HEAD_BYTES))


async def read_head(pool: Pool) -> Head | None:
    """Returns the head row; None if there is no store. Raises FailedPreconditionError for one that this version cannot
    use."""
    place = pool.target.place
    try:
        async with pool.session() as session:
            rows = await session.query("SELECT format, state FROM rube_head WHERE id = 1")
            if not rows:
                return None
            check_format(place, *rows[0])
            engines = await session.query(
                "SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES "
                f"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN {NAMES}"
            )
            _check_engines(place, {_text(name).lower(): _text(engine) for name, engine in engines})
            return decode_head((await session.query(f"SELECT {HEAD_COLUMNS} FROM rube_head WHERE id = 1"))[0])
    except RefusedError as error:
        if error.code == NO_SUCH_TABLE:
            return None
        raise translate(error, place) from error
    except LostError as error:
        raise translate(error, place) from error


def check_format(place: DatabasePlace, format_: int, state: bytes) -> None:
    where = f"the store in database {place.database!r} at {place.server}"
    if format_ > FORMAT:
        raise FailedPreconditionError(
            f"{where} has format {format_}, newer than this version's {FORMAT}: use a newer version of Rube"
        )
    if state == LOADING:
        raise FailedPreconditionError(f"{where} is a copy that was not finished: restore again")
    if state != READY:
        raise DataLossError(f"{where} has the unknown state {state!r}: restore a backup")


def _check_engines(place: DatabasePlace, engines: dict[str, str]) -> None:
    for name in NAMES:
        if name not in engines:
            raise DataLossError(f"table {name} is missing in database {place.database!r}: restore a backup")
        if engines[name].lower() != "innodb":
            raise FailedPreconditionError(
                f"table {name} in database {place.database!r} has the engine {engines[name]}, which has no durable "
                f"transactions: ALTER TABLE {name} ENGINE=InnoDB"
            )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
