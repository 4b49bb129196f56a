"""apsw's connections with the face of those of module sqlite3, as far as the engine looks at it."""

from __future__ import annotations

import sqlite3  # noqa: TID251 (its exceptions)
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import apsw

from rube.sim.sqlite.shared_index import raise_failure

T = TypeVar("T")

_NAMES = apsw.mapping_result_codes | apsw.mapping_extended_result_codes


class SimConnection:
    """`rube.store.engines.sqlite_files.Connection` on a simulated disk. `enter` runs before each of its calls."""

    def __init__(self, inner: apsw.Connection, enter: Callable[[], None]) -> None:
        self._inner = inner
        self._enter = enter

    @property
    def in_transaction(self) -> bool:
        return self._inner.in_transaction

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> SimCursor:
        return SimCursor(_call(self._enter, self._inner.execute, statement, tuple(parameters)), self._enter)

    def close(self) -> None:
        _call(self._enter, self._inner.close)


class SimCursor:
    """The rows of a statement."""

    def __init__(self, inner: apsw.Cursor, enter: Callable[[], None]) -> None:
        self._inner = inner
        self._enter = enter

    def fetchone(self) -> Any:
        return _call(self._enter, self._inner.fetchone)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if (row := self.fetchone()) is None:
            raise StopIteration
        return row

    def close(self) -> None:
        self._inner.close(True)


def _call(enter: Callable[[], None], function: Callable[..., T], *args: object) -> T:
    enter()
    before = sys.unraisablehook
    sys.unraisablehook = partial(_settle, before)
    try:
        result = function(*args)
    except apsw.Error as error:
        raise_failure()
        enter()  # refused to a process that died in the middle of it
        raise translated(error) from error
    except UnicodeDecodeError as error:  # what damage has made text of
        raise _sqlite_error(apsw.SQLITE_CORRUPT, str(error)) from error
    finally:
        sys.unraisablehook = before
    raise_failure()
    enter()
    return result


def _settle(other: Callable[[sys.UnraisableHookArgs], object], unraisable: sys.UnraisableHookArgs) -> None:
    """Drops a disk's error that SQLite has handled, without a failure of the statement; passes others to the `other`
    hook."""
    if not isinstance(unraisable.exc_value, apsw.Error):
        other(unraisable)


def translated(error: apsw.Error) -> sqlite3.Error:
    """The exception that module sqlite3 raises for it."""
    code = getattr(error, "extendedresult", 0) or getattr(error, "result", apsw.SQLITE_ERROR)
    return _sqlite_error(code, str(error))


def _sqlite_error(code: int, text: str) -> sqlite3.Error:
    found = sqlite3.OperationalError(text)
    found.sqlite_errorcode = code
    found.sqlite_errorname = str(_NAMES.get(code, code))
    return found
