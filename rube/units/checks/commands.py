"""The checks of what makes a service runnable: its commands, its type, and what goes with it (systemd's
service_verify())."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rube.api import Service
from rube.api.types.violation import Violation
from rube.units.checks.texts import ITEMS_MAX, unknown_specifier
from rube.units.service.commandline import CommandLine, CommandLineError, parse_commands

STRING_BYTES_MAX = 128 * 1024 - 1
"""Linux takes no longer argument, and no longer `NAME=value`, for a program that it executes (MAX_ARG_STRLEN)."""
EXEC_LISTS = ("start", "start_pre", "start_post", "condition", "reload", "stop", "stop_post")

_NOT_TEXT: Final = re.compile("[\udc80-\udcff]")


def command_violations(service: Service) -> Iterator[Violation]:
    starts = 0
    for name in EXEC_LISTS:
        for index, line in enumerate(getattr(service.exec, name)[:ITEMS_MAX]):
            place = f"service.exec.{name}[{index}]"
            if not line.strip(" \t"):
                continue  # `texts` reports it
            try:
                commands = parse_commands(line)
            except CommandLineError as error:
                yield Violation(place, f"is no command line: {error}")
                continue
            for command in commands:
                yield from _of_words(place, command)
            starts += len(commands) if name == "start" else 0
    yield from _of_type(service, starts)


def _of_words(place: str, command: CommandLine) -> Iterator[Violation]:
    for word in (command.program, *command.arguments):
        if (size := len(word.encode("utf-8", "surrogateescape"))) > STRING_BYTES_MAX:
            yield Violation(place, f"has an argument of {size} bytes: Linux takes at most {STRING_BYTES_MAX}")
        if problem := unknown_specifier(word):
            yield Violation(place, problem)
        if _NOT_TEXT.search(word):
            yield Violation(place, "has an escape for a byte that is not UTF-8: systemd could not show what it runs")


def _of_type(service: Service, starts: int) -> Iterator[Violation]:
    oneshot = service.type == Service.ONESHOT
    given = bool(service.exec.start)
    untyped = not service.type and not service.bus_name
    if not given and not (service.exec.stop and (oneshot or untyped)):
        yield Violation("service.exec.start", "is missing: a service needs a command to run")
    elif not given and not service.remain_after_exit:
        yield Violation("service.remain_after_exit", "must be true where exec.start is missing")
    if starts > 1 and not oneshot:
        yield Violation("service.exec.start", f"has {starts} commands: several need `type: ONESHOT`")
    if oneshot and service.restart in (Service.ALWAYS, Service.ON_SUCCESS):
        yield Violation("service.restart", "of a unit of type ONESHOT cannot be ALWAYS or ON_SUCCESS")
    if oneshot and (service.status.force_restart or service.status.force_restart_signal):
        yield Violation("service.status.force_restart", "has no place in a unit of type ONESHOT: leave it out")
    if service.type == Service.DBUS and not service.bus_name:
        yield Violation("service.bus_name", "is missing: a unit of type DBUS needs one")
