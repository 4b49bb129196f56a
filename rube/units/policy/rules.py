"""The rules that compare a Unit with a node's policy. Pure, but for the accounts that it asks."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from typing import Final

from rube.api import NodePolicy, Service, Unit
from rube.api.types.violation import Violation
from rube.units.checks.commands import EXEC_LISTS
from rube.units.names import PREFIX
from rube.units.policy.accounts import Accounts, MachineUser
from rube.units.service.commandline import CommandLine, CommandLineError, parse_commands

ROOT: Final = "root"
FOREIGN_LISTS: Final = ("wants", "requires", "requisite", "binds_to", "conflicts", "before", "on_failure")
"""Lists that reach beyond the unit where they name a unit that is not one of Rube's."""
REACHING: Final = (
    *("install.required_by", "install.also", "install.alias"),
    *("service.root_directory", "service.slice", "service.runtime_directory", "service.state_directory"),
)
"""Fields that reach beyond the unit whatever they say."""
STREAMS: Final = ("standard_input", "standard_output", "standard_error")
OPTIONS: Final = (*FOREIGN_LISTS, *REACHING, "service.nice", *(f"service.{name}" for name in STREAMS))
"""The names that `options` of a policy may have."""
_OWN_STREAMS: Final = ("", "null", "journal", "inherit", "data")
_FILES: Final = ("file", "append", "truncate")


def refusals(policy: NodePolicy, accounts: Accounts, unit: Unit) -> list[Violation]:
    """Returns everything in a valid unit that the policy refuses: the field, what is wrong, the rule and the remedy."""
    return list(_Rules(policy, accounts).of_unit(unit))


class _Rules:
    def __init__(self, policy: NodePolicy, accounts: Accounts) -> None:
        self._policy = policy
        self._accounts = accounts
        self._me = accounts.me()
        self._is_root = self._me.uid == 0

    def of_unit(self, unit: Unit) -> Iterator[Violation]:
        yield from self._identity(unit.service)
        yield from self._commands(unit.service)
        yield from self._files(unit.service)
        yield from self._options(unit)

    # Users

    def _identity(self, service: Service) -> Iterator[Violation]:
        name = service.user.strip()
        if "%" in name or "%" in service.group:
            if self._is_root or self._policy.users or self._policy.groups:
                field = "service.user" if "%" in name else "service.group"
                yield Violation(field, "holds a specifier, which the rules of the node cannot judge: write the name")
            return
        account = self._account(name)
        if not self._may_be(account):
            what = f"{name!r}" if name else "is missing, which means"
            yield Violation("service.user", f"{what} {_spoken(account, self._me, name)}: {self._users_rule(account)}")
        elif service.group and (self._is_root or self._policy.groups):
            yield from self._group(service.group.strip(), account)

    def _group(self, name: str, account: MachineUser) -> Iterator[Violation]:
        number = self._accounts.group(name)
        allowed = _matches(self._policy.groups, name) or number in account.groups
        if not allowed and not (account.uid == 0 and self._is_root):
            yield Violation(
                "service.group",
                f"{name!r} is a group that user {account.name} is no member of, and rule `groups` does not name it",
            )

    def _account(self, name: str) -> MachineUser:
        if not name:
            return self._me
        # A name that the machine does not know is the driver's to report; no such user is root.
        return self._accounts.user(name) or MachineUser(name=name, uid=-1)

    def _may_be(self, account: MachineUser) -> bool:
        if not self._policy.users:
            return account.uid != 0 or not self._is_root
        names = {account.name, str(account.uid)} | ({ROOT} if account.uid == 0 else set())
        return any(_matches(self._policy.users, name) for name in names)

    def _users_rule(self, account: MachineUser) -> str:
        remedy = f"name another user, or let the node's administrator add `users: {_quoted(account)}`"
        if not self._policy.users:
            return f"a node without rule `users` runs nothing as root: {remedy}"
        return f"rule `users` allows {_listed(self._policy.users)}: {remedy}"

    # Commands

    def _commands(self, service: Service) -> Iterator[Violation]:
        for name in EXEC_LISTS:
            for index, line in enumerate(getattr(service.exec, name)):
                try:
                    commands = parse_commands(line)
                except CommandLineError:
                    continue  # the checks of the spec report it
                for command in commands:
                    yield from self._command(f"service.exec.{name}[{index}]", command)

    def _command(self, place: str, command: CommandLine) -> Iterator[Violation]:
        if {"+", "!"} & set(command.prefixes) and not self._may_be(self._me):
            yield Violation(
                place,
                f"begins with `+` or `!`, which keeps the rights of {self._me.name}: {self._users_rule(self._me)}",
            )
        allowed = self._policy.executables
        if allowed and not _is_path_in(allowed, command.program):
            yield Violation(place, f"runs {command.program[:200]}: rule `executables` allows {_listed(allowed)}")

    # Files

    def _files(self, service: Service) -> Iterator[Violation]:
        directories = self._policy.working_directories
        directory = service.working_directory.strip().removeprefix("-") or "/"
        if directories and not (directory == "~" and "~" in directories) and not _is_path_in(directories, directory):
            yield Violation(
                "service.working_directory",
                f"{directory[:200]!r}: rule `working_directories` allows {_listed(directories)}",
            )
        for index, path in enumerate(service.environment_file):
            yield from self._path(
                f"service.environment_file[{index}]", path.strip().removeprefix("-"), "readable_paths"
            )
        for name in STREAMS:
            value = getattr(service, name).strip()
            kind, _, path = value.partition(":")
            if kind in _FILES and path:
                rule = "readable_paths" if name == "standard_input" else "writable_paths"
                yield from self._path(f"service.{name}", path, rule)
            elif value not in _OWN_STREAMS:
                yield from self._option(f"service.{name}")

    def _path(self, field: str, path: str, rule: str) -> Iterator[Violation]:
        allowed: Sequence[str] = getattr(self._policy, rule)
        if (allowed or self._is_root) and not _is_path_in(allowed, path):
            yield Violation(
                field,
                f"{path[:200]!r} would be opened with the rights of {self._me.name}: "
                f"rule `{rule}` allows {_listed(allowed)}",
            )

    # Options

    def _options(self, unit: Unit) -> Iterator[Violation]:
        for name in FOREIGN_LISTS:
            foreign = [each for each in getattr(unit, name) if not each.strip().startswith(PREFIX)]
            if foreign:
                yield from self._option(name, f"names {foreign[0]}, which is no unit of Rube's, and")
        for path in REACHING:
            message, name = (unit.install, path[8:]) if path.startswith("install.") else (unit.service, path[8:])
            if getattr(message, name):
                yield from self._option(path)
        if unit.service.nice < 0:
            yield from self._option("service.nice", "is below 0, and")

    def _option(self, field: str, why: str = "") -> Iterator[Violation]:
        allowed = self._policy.options
        if (allowed or self._is_root) and not _matches(allowed, field):
            yield Violation(field, f"{why} reaches beyond the unit: rule `options` allows {_listed(allowed)}".strip())


def _matches(patterns: Sequence[str], text: str) -> bool:
    return any(text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern for pattern in patterns)


def _is_path_in(patterns: Sequence[str], path: str) -> bool:
    """Returns whether a pattern has the path, which must say by itself where it leads: whole, no `..`, no specifier."""
    if not path.startswith("/") or ".." in path.split("/") or "%" in path:
        return False
    return _matches(patterns, "/" + posixpath.normpath(path).lstrip("/"))


def _spoken(account: MachineUser, me: MachineUser, name: str) -> str:
    if not name:
        return f"{me.name}, as the rubelet"
    return f"is user {account.uid}" if account.uid >= 0 else "is no user that this machine knows"


def _quoted(account: MachineUser) -> str:
    return f'"{ROOT if account.uid == 0 else account.name}"'


def _listed(patterns: Sequence[str]) -> str:
    shown = ", ".join(patterns[:8]) + (", …" if len(patterns) > 8 else "")
    return shown or "none"


def policy_problem(policy: NodePolicy) -> str:
    """Returns what is wrong with a policy: a rule that cannot match anything is a mistake; empty if nothing is."""
    for field in ("executables", "writable_paths", "readable_paths"):
        for index, pattern in enumerate(getattr(policy, field)):
            if not pattern.startswith("/"):
                return f"{field}[{index}] {pattern!r} is no absolute path"
    for index, option in enumerate(policy.options):
        if not any(_matches([option], known) for known in OPTIONS):
            return f"options[{index}] {option!r} is unknown: use one of {', '.join(OPTIONS)}"
    for rule, patterns in policy.ListFields():
        for index, pattern in enumerate(patterns):
            if "*" in pattern[:-1]:
                return f"{rule.name}[{index}] {pattern!r}: `*` can only be its end"
            if not pattern:
                return f"{rule.name}[{index}] is empty"
    return ""
