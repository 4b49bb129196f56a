"""One connection to the server: statements in, rows out, and two kinds of errors."""

from __future__ import annotations

import asyncio
import importlib
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rube.api.addresses import split_host_port
from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.distribution import install_command
from rube.host import Clock
from rube.store.sql.errors import LOST_CODES, TLS_FAILED, DatabasePlace, LostError, RefusedError
from rube.store.urls import StoreUrl

CONNECT_S_MAX = 5.0
STATEMENT_S_MAX = 30.0
LOCK_WAIT_S_MAX = 5
"""How long the server may let a statement wait for a lock."""
SILENCE_S_MAX = 20
"""The server ends a connection that is silent for so long, and with it the locks of an apiserver that hangs or is cut
off in the middle of a transaction."""

Params = Sequence[int | bytes | str | None]
Rows = Sequence[Sequence[Any]]

# Settings of each new connection, since a server may have any defaults. READ COMMITTED: each statement sees everything
# that was committed when it began, on InnoDB and on TiDB alike. Reads that need one state are one statement, or are
# under the lock on the head row.
_SETUP = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_S_MAX}",
    f"SET SESSION wait_timeout = {SILENCE_S_MAX}",
    # No answer is cut.
    "SET SESSION sql_select_limit = 18446744073709551615",
    # ORDER BY compares no more bytes than this: a whole key.
    "SET SESSION max_sort_length = 8192",
)
# COMMIT begins no other transaction, in which later writes would hang; joins may examine any number of rows.
_SETUP_INNODB = ("SET SESSION completion_type = 0, sql_big_selects = 1",)
# Lock when a row is written, as InnoDB does, instead of a check at the end.
_SETUP_TIDB = ("SET SESSION tidb_txn_mode = 'pessimistic'",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlTarget:
    """The server and the way to connect, from a URL, with all files read."""

    host: str
    port: int
    database: str
    user: str
    password: str
    tls: ssl.SSLContext | None

    @property
    def place(self) -> DatabasePlace:
        return DatabasePlace(f"{self.host}:{self.port}", self.database, self.user)


def target_of(url: StoreUrl) -> SqlTarget:
    """Returns the target. Raises InvalidArgumentError that names the option whose file cannot be used."""
    host, port = split_host_port(url.servers[0])
    if not url.user:
        raise InvalidArgumentError(f"store URL {url} names no user: write mysql://user@{url.servers[0]}/{url.path}")
    password = url.password
    if path := url.option("password_file"):
        try:
            password = Path(path).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidArgumentError(f"password_file={path} of store {url} cannot be read: {error}") from error
    return SqlTarget(
        host=host.strip("[]"),
        port=int(port),
        database=url.path,
        user=url.user,
        password=password,
        tls=_tls_context(url),
    )


def _tls_context(url: StoreUrl) -> ssl.SSLContext | None:
    ca, cert, key = (url.option(name) for name in ("ca", "cert", "key"))
    if not (ca or cert or key or url.option("tls")):
        return None
    if bool(cert) != bool(key):
        raise InvalidArgumentError(f"store URL {url} needs cert and key together, or neither")
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if cert:
            context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgumentError(f"the TLS files of store {url} cannot be used: {error}") from error
    return context


class Session:
    """One connection, for one task at a time. After a LostError or a cancellation it cannot be used any more."""

    def __init__(self, connection: Any, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self.is_broken = False
        self.used_at_ns = clock.monotonic_ns()

    @classmethod
    async def connect(cls, target: SqlTarget, clock: Clock) -> Session:
        """Connects. Raises RefusedError, LostError, and FailedPreconditionError if asyncmy is not installed."""
        asyncmy = _asyncmy()
        try:
            async with clock.timeout(CONNECT_S_MAX):
                connection = await asyncmy.connect(
                    host=target.host,
                    port=target.port,
                    user=target.user,
                    password=target.password,
                    database=target.database,
                    ssl=target.tls,
                    autocommit=True,
                    charset="utf8mb4",
                    connect_timeout=int(CONNECT_S_MAX) + 1,
                )
        except TimeoutError as error:
            raise LostError(f"no answer to a connection within {CONNECT_S_MAX} s") from error
        except (OSError, EOFError) as error:
            raise LostError(str(error)) from error
        except RuntimeError as error:  # asyncmy's, if an authentication method needs a package
            raise FailedPreconditionError(
                f"the database server at {target.place.server} cannot get the password without TLS: {error}; "
                "add tls=true, or ca=FILE, to the URL, or pip install cryptography"
            ) from error
        except asyncmy.MySQLError as error:
            _check_cancelled(error)
            raise _own_error(error) from error
        session = cls(connection, clock)
        try:
            version = str((await session.query("SELECT VERSION()"))[0][0])
            for statement in _SETUP + (_SETUP_TIDB if "TiDB" in version else _SETUP_INNODB):
                await session.query(statement)
        except BaseException:
            session.close()
            raise
        return session

    async def query(self, statement: str, params: Params = ()) -> Rows:
        """Returns the rows of a SELECT; () of other statements. `%s` in the statement stand for the params.

        Raises RefusedError, after which the session can go on, and LostError.
        """
        asyncmy = _asyncmy()
        done = False
        try:
            async with self._clock.timeout(STATEMENT_S_MAX):
                cursor = self._connection.cursor()
                await cursor.execute(statement, params or None)
                rows: Rows = await cursor.fetchall()
            done = True
        except TimeoutError as error:
            raise LostError(f"no answer to a statement within {STATEMENT_S_MAX} s") from error
        except (OSError, EOFError, RuntimeError) as error:  # uvloop's, for a closed connection
            raise LostError(str(error)) from error
        except asyncmy.MySQLError as error:
            _check_cancelled(error)
            own = _own_error(error)
            done = isinstance(own, RefusedError)
            raise own from error
        finally:
            self.is_broken = self.is_broken or not done
            self.used_at_ns = self._clock.monotonic_ns()
        return rows

    def close(self) -> None:
        self.is_broken = True
        self._connection.close()


def _check_cancelled(error: Exception) -> None:
    """Raises CancelledError for asyncmy's own error of a cancelled statement, which would let a task live on that has
    to end."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error


def _own_error(error: Exception) -> RefusedError | LostError:
    if isinstance(error.__cause__, ssl.SSLError):
        return RefusedError(TLS_FAILED, str(error.__cause__))
    match error.args:
        case (int(code), text, *_) if code not in LOST_CODES:
            return RefusedError(code, str(text))
        case (int(), text, *_):
            return LostError(str(text))
    return LostError(str(error))


def _asyncmy() -> Any:
    try:
        asyncmy = importlib.import_module("asyncmy")
        # asyncmy logs each of the server's warnings, such as that a table exists already, with the stored values in
        # them.
        logging.getLogger("asyncmy").setLevel(logging.ERROR)
        return asyncmy
    except ImportError as error:
        raise FailedPreconditionError(
            f"a mysql:// store needs the package asyncmy: {install_command('mysql')}"
        ) from error
