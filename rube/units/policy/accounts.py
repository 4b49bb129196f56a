"""The users and groups of a machine, as the rules need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineUser:
    """A user of the machine; `groups` are the numbers of those that it is a member of."""

    name: str
    uid: int
    groups: frozenset[int] = frozenset()


class Accounts(Protocol):
    """The machine's users and groups, by name or by number."""

    def me(self) -> MachineUser:
        """Returns the user that the units' driver has the rights of: the rubelet's."""
        ...

    def user(self, name: str) -> MachineUser | None:
        """Returns the user; None if the machine has none of that name. A number is a user in any case."""
        ...

    def group(self, name: str) -> int | None: ...


@dataclass(frozen=True, slots=True)
class KnownAccounts:
    """Accounts that are written down: of simulated machines, and of tests."""

    own: MachineUser
    users: tuple[MachineUser, ...] = ()
    groups: tuple[tuple[str, int], ...] = ()

    def me(self) -> MachineUser:
        return self.own

    def user(self, name: str) -> MachineUser | None:
        if name.isdigit():
            uid = int(name)
            return next((each for each in self.users if each.uid == uid), MachineUser(name=name, uid=uid))
        return next((each for each in self.users if each.name == name), None)

    def group(self, name: str) -> int | None:
        return int(name) if name.isdigit() else dict(self.groups).get(name)


UNPRIVILEGED = KnownAccounts(MachineUser(name="rube", uid=1000))
"""A machine whose rubelet is not root."""
