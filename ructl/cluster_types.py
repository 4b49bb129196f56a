"""The types that a command knows: those that are built in, and, once it needs them, those of the cluster."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click
from google.protobuf.message import DecodeError, Message

from rube.api.errors import InvalidArgumentError, NotFoundError
from rube.api.keys import TYPE_TYPE, ObjectKey, is_name_of, type_of
from rube.api.types import BUILTIN, Kind, Types
from rube.api.unknown_fields import unknown_fields
from ructl.durations import monotonic_s

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any as AnyMessage

    from rube.api import Object
    from ructl.connection import Connection

    Question = Callable[[Connection], Coroutine[Any, Any, list[Object]]]


AGAIN_S: Final = 1.0
"""A type is read again no sooner for fields that its newest version did not have either."""


class ClusterTypes(Types):
    """Types that are read from the server of the running command, one by its full name, or all.

    A server that does not answer has no types; `why_unknown` says so.
    """

    def __init__(self) -> None:
        super().__init__(BUILTIN.kinds(), BUILTIN.messages)
        self._absent: set[str] = set()
        self._unread: dict[str, Object] = {}
        self._loaded = False
        self._failure = ""
        self._again_s: dict[tuple[str, str, int], float] = {}

    def why_unknown(self) -> str:
        """Returns the end of an error about a name that no known type has: that the cluster could not be asked, if that
        is so."""
        return f"; the cluster's own types are not known, since {self._failure}" if self._failure else ""

    def forget(self) -> None:
        """Begins anew, for another command in the same process."""
        super().__init__(BUILTIN.kinds(), BUILTIN.messages)
        self._absent.clear()
        self._unread.clear()
        self._loaded = False
        self._failure = ""
        self._again_s.clear()

    def get(self, type_name: str) -> Kind | None:
        if type_name in self._unread:
            self._add(self._unread.pop(type_name))
        found = super().get(type_name)
        if found is None and "." in type_name and type_name not in self._absent:
            self._absent.add(type_name)
            if is_name_of(TYPE_TYPE, type_name):
                for obj in self._ask(lambda connection: _one(connection, type_name)):
                    self._add(obj)
            found = super().get(type_name) or self._installed(type_name)
        return found

    def message_class(self, type_name: str) -> type[Message]:
        try:
            return super().message_class(type_name)
        except InvalidArgumentError as error:
            if "did you mean" in error.message:
                raise
            remedy = "'ructl types push FILE.proto' makes a type known"
            raise InvalidArgumentError(f"{error.message}; {remedy}{self.why_unknown()}", **error.metadata) from error

    def _installed(self, type_name: str) -> Kind | None:
        """Returns the type of an installed package, for files with objects of it that are read before it is pushed."""
        from rube.api.types.pushed import kind_from
        from rube.installed import installed_types

        try:
            obj = installed_types().find(type_name)
        except InvalidArgumentError as error:
            click.echo(f"ructl: {error.message}", err=True)
            return None
        if obj is None:
            return None
        kind = self._kinds[type_name] = kind_from(obj)
        return kind

    def load(self, timeout_s: float | None = None) -> bool:
        """Reads all types of the cluster, once. Returns whether there was one more."""
        if self._loaded:
            return False
        self._loaded = True
        found = {obj.metadata.name: obj for obj in self._ask(_all, timeout_s)}
        self._unread |= {name: obj for name, obj in found.items() if name not in self._kinds}
        return bool(self._unread)

    def kinds(self) -> tuple[Kind, ...]:
        while self._unread:
            self._add(self._unread.popitem()[1])
        return super().kinds()

    def words(self) -> dict[str, tuple[str, ...]]:
        """Returns what people call each type, by its full name. To read a type as a whole takes milliseconds, which are
        seconds for a thousand of them: this only reads its option."""
        from rube.api import Type
        from rube.api.types.pushed import resource_in

        found = {kind.name: kind.words() for kind in super().kinds()}
        for name, obj in self._unread.items():
            with contextlib.suppress(InvalidArgumentError):
                short_names = resource_in(name, Type.FromString(obj.spec.value)).short_names
                found[name] = (name.rpartition(".")[2].lower(), *short_names)
        return {name: found[name] for name in sorted(found)}

    async def catch_up(self, connection: Connection, packed: Iterable[AnyMessage]) -> None:
        """Reads those pushed types again whose messages have fields that are not known: a next version has them by now.

        For fields that this does not explain, a type is read again after AGAIN_S at the earliest.
        """
        now_s = monotonic_s()
        lacking = {lack for each in packed for lack in self._lacking(each)}
        new = {lack for lack in lacking if now_s >= self._again_s.get(lack, now_s)}
        for name in sorted({name for name, _, _ in new}):
            with contextlib.suppress(NotFoundError):
                self._add(await connection.get(ObjectKey(TYPE_TYPE, "", name)))
        if new:
            self._classes.clear()
            self._again_s |= dict.fromkeys(new, now_s + AGAIN_S)

    def _lacking(self, packed: AnyMessage) -> Iterator[tuple[str, str, int]]:
        """Yields the type of resource, the message, and the number of a field that this one lacks."""
        name = type_of(packed)
        pushed = [kind for kind in self._kinds.values() if kind.source]
        for kind in pushed:
            for known in filter(None, (kind.spec, kind.status)):
                if known.DESCRIPTOR.full_name == name:
                    try:
                        for _, number, message in unknown_fields(known.FromString(packed.value)):
                            yield kind.name, message, number
                    except DecodeError:
                        yield kind.name, name, 0

    def _ask(self, question: Question, timeout_s: float | None = None) -> list[Object]:
        """Returns the answer of the server that the running command is about; nothing if there is no answer."""
        context = click.get_current_context(silent=True)
        if context is None or _in_loop():
            return []
        from ructl.connection import ask
        from ructl.options import target

        given = context.params
        try:
            where = target(given.get("server"), given.get("node_socket"), given.get("timeout_s"))
            return ask(where if timeout_s is None else replace(where, timeout_s=timeout_s), question)
        except click.ClickException as error:
            if not isinstance(error.__cause__, NotFoundError):
                self._failure = error.message
            return []

    def _add(self, obj: Object) -> None:
        from rube.api import Type
        from rube.api.types.pushed import kind_of

        try:
            kind = kind_of(obj.metadata.name, Type.FromString(obj.spec.value))
        except InvalidArgumentError as error:
            click.echo(f"ructl: this version cannot read type {obj.metadata.name}: {error.message}", err=True)
            return
        self._kinds[kind.name] = kind


async def _one(connection: Connection, name: str) -> list[Object]:
    return [await connection.get(ObjectKey(TYPE_TYPE, "", name))]


async def _all(connection: Connection) -> list[Object]:
    from ructl.query import Query

    return await connection.list_objects(Query(type=TYPE_TYPE))


def _in_loop() -> bool:
    """Returns whether the command speaks with its server already."""
    if "asyncio" not in sys.modules:
        return False  # it is a fifth of a short command's imports
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


TYPES: Final = ClusterTypes()
"""Those of the running command."""
