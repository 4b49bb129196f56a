"""The checks of a service's commands, and whether there are any. How many lines there may be is a rule of
systemd.proto."""

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
    if starts > len(service.exec.start) and service.type != Service.ONESHOT:
        yield Violation("service.exec.start", f"has {starts} commands: several need `type: ONESHOT`")
    if not service.exec.start:
        yield from _without_start(service)


def _of_words(place: str, command: CommandLine) -> Iterator[Violation]:
    for word in (command.program, *command.arguments):
        if (size := len(word.encode("utf-8", "surrogateescape"))) > STRING_BYTES_MAX:
            yield Violation(place, f"has an argument of {size} bytes: Linux takes at most {STRING_BYTES_MAX}")
        if problem := unknown_specifier(word):
            yield Violation(place, problem)
        if _NOT_TEXT.search(word):
            yield Violation(place, "has an escape for a byte that is not UTF-8: systemd could not show what it runs")


def _without_start(service: Service) -> Iterator[Violation]:
    untyped = not service.type and not service.bus_name
    if not (service.exec.stop and (service.type == Service.ONESHOT or untyped)):
        yield Violation("service.exec.start", "is missing: a service needs a command to run")
    elif not service.remain_after_exit:
        yield Violation("service.remain_after_exit", "must be true where exec.start is missing")
