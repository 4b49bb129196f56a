"""A connection to systemd's manager on a bus: calls, signals, reconnecting. Its errors are Rube's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rube.api.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    RubeError,
    UnavailableError,
)
from rube.distribution import install_command
from rube.host import Clock

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

DESTINATION = "org.freedesktop.systemd1"
MANAGER_PATH = "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"
PROPERTIES = "org.freedesktop.DBus.Properties"
UNIT_PATH = f"{MANAGER_PATH}/unit/"
CALLS_MAX = 100
"""The most calls in flight at once: a bus refuses more than it is configured for (dbus-daemon: 128 for users)."""
CALL_S_MAX = 25.0

Listener = Callable[["Message | None"], None]
"""Takes a signal of systemd's; None: signals may have been missed."""

_ERRORS: dict[str, type[RubeError]] = {
    "org.freedesktop.systemd1.NoSuchUnit": NotFoundError,
    "org.freedesktop.systemd1.LoadFailed": FailedPreconditionError,
    "org.freedesktop.systemd1.BadUnitSetting": InvalidArgumentError,
    "org.freedesktop.DBus.Error.AccessDenied": FailedPreconditionError,
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired": FailedPreconditionError,
    "org.freedesktop.DBus.Error.FileNotFound": NotFoundError,
    "org.freedesktop.DBus.Error.InvalidArgs": InvalidArgumentError,
    "org.freedesktop.DBus.Error.LimitsExceeded": ResourceExhaustedError,
}


class SystemdBus:
    """A connection that is made when it is first needed and again when it is lost.

    Errors of every method: UnavailableError (no bus, connection lost), DeadlineExceededError (no answer within
    CALL_S_MAX), and systemd's error, by its name.
    """

    def __init__(self, clock: Clock, address: str | None) -> None:
        """`address` such as `unix:path=/run/…`; None: the system bus."""
        self._clock = clock
        self._address = address
        self._bus: MessageBus | None = None
        self._connecting = asyncio.Lock()
        self._slots = asyncio.Semaphore(CALLS_MAX)
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener` with each signal until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def connect(self) -> None:
        """Makes sure of the connection. All listeners are notified of a new one, since signals before it were
        missed."""
        async with self._connecting:
            if self._bus is not None and self._bus.connected:
                return
            self._bus = await self._open()
            try:
                await self._match("type='signal',sender='org.freedesktop.systemd1'")
                await self._exchange(MANAGER_PATH, MANAGER, "Subscribe", "", [])
            except RubeError:
                self._drop()
                raise
            self._bus.add_message_handler(self._heard)
            self._tell(None)

    async def manager(self, member: str, signature: str = "", *body: Any) -> list[Any]:
        """Calls a method of systemd's manager (org.freedesktop.systemd1(5)) and returns the answer's values."""
        await self.connect()
        return await self._exchange(MANAGER_PATH, MANAGER, member, signature, list(body))

    async def properties(self, unit: str, interface: str) -> dict[str, Any]:
        """Returns all properties of a unit; systemd loads it for that if need be."""
        await self.connect()
        path = UNIT_PATH + escape(unit)
        answer = await self._exchange(path, PROPERTIES, "GetAll", "s", [f"{DESTINATION}.{interface}"])
        return {name: variant.value for name, variant in answer[0].items()}

    async def property(self, unit: str, interface: str, name: str) -> Any:
        """Returns one property of a unit, which systemd can send even if another one keeps it from sending all."""
        await self.connect()
        path = UNIT_PATH + escape(unit)
        answer = await self._exchange(path, PROPERTIES, "Get", "ss", [f"{DESTINATION}.{interface}", name])
        return answer[0].value

    async def close(self) -> None:
        self._drop()
        self._listeners.clear()

    async def _open(self) -> MessageBus:
        try:
            from dbus_fast import BusType, DBusError, InvalidAddressError
            from dbus_fast.aio import MessageBus
        except ImportError as error:
            raise FailedPreconditionError(
                f"the systemd driver needs dbus-fast: {install_command('systemd')}, or use the supervisor driver"
            ) from error
        where = self._address or "the system bus"
        try:
            async with self._clock.timeout(CALL_S_MAX):
                return await MessageBus(bus_address=self._address, bus_type=BusType.SYSTEM).connect()
        except (OSError, EOFError, DBusError, InvalidAddressError) as error:
            raise UnavailableError(f"no D-Bus at {where}: {error}; is systemd running there?") from error
        except TimeoutError as error:
            raise DeadlineExceededError(f"D-Bus at {where} does not answer") from error

    async def _match(self, rule: str) -> None:
        await self._exchange(
            "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s", [rule], "org.freedesktop.DBus"
        )

    async def _exchange(
        self, path: str, interface: str, member: str, signature: str, body: list[Any], destination: str = DESTINATION
    ) -> list[Any]:
        from dbus_fast import Message, MessageType

        message = Message(
            destination=destination, path=path, interface=interface, member=member, signature=signature, body=body
        )
        bus = self._bus
        if bus is None:
            raise UnavailableError(f"the D-Bus connection is lost: {member} was not sent")
        try:
            async with self._slots, self._clock.timeout(CALL_S_MAX):
                answer = await bus.call(message)
        except TimeoutError as error:
            raise DeadlineExceededError(f"systemd does not answer {member} within {CALL_S_MAX:.0f} s") from error
        except (OSError, EOFError) as error:
            self._drop()
            raise UnavailableError(f"the D-Bus connection was lost during {member}: {error}") from error
        if answer is None:
            raise UnavailableError(f"the D-Bus connection was lost during {member}")
        if answer.message_type is MessageType.ERROR:
            raise _error(answer, member)
        return list(answer.body)

    def _heard(self, message: Message) -> None:
        if message.sender != "org.freedesktop.DBus":
            self._tell(message)

    def _tell(self, message: Message | None) -> None:
        for listener in tuple(self._listeners):
            listener(message)

    def _drop(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None and bus.connected:
            bus.disconnect()


def escape(unit: str) -> str:
    """Returns a unit's name as the last part of its object path (sd_bus_path_encode(3))."""
    head = all(letter.isascii() and letter.isalnum() for letter in unit[:1]) and not unit[:1].isdigit()
    return "".join(
        letter
        if letter.isascii() and letter.isalnum() and (index or head)
        else "".join(f"_{byte:02x}" for byte in letter.encode())
        for index, letter in enumerate(unit)
    )


def unescape(path: str) -> str:
    """Reverses `escape`, for a unit's whole object path; empty for another path."""
    if not path.startswith(UNIT_PATH):
        return ""
    first, *parts = path[len(UNIT_PATH) :].split("_")
    try:
        raw = b"".join(bytes.fromhex(part[:2]) + part[2:].encode() for part in parts)
    except ValueError:
        return ""
    return (first.encode() + raw).decode(errors="replace")


def _error(answer: Message, member: str) -> RubeError:
    text = "; ".join(str(part) for part in answer.body) or answer.error_name or "no reason given"
    return _ERRORS.get(answer.error_name or "", FailedPreconditionError)(
        f"systemd refused {member}: {text}", dbus_error=answer.error_name or ""
    )
