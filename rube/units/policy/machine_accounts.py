"""The users and groups of this machine, by its own databases (nsswitch.conf(5))."""

from __future__ import annotations

import grp
import os
import pwd

from rube.units.policy.accounts import MachineUser


class MachineAccounts:
    """rube.units.policy.Accounts of the machine that this process runs on."""

    def me(self) -> MachineUser:
        uid = os.geteuid()
        return self.user(str(uid)) or MachineUser(name=str(uid), uid=uid)

    def user(self, name: str) -> MachineUser | None:
        try:
            found = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        except (KeyError, OverflowError):
            return MachineUser(name=name, uid=int(name)) if name.isdigit() else None
        groups = frozenset(os.getgrouplist(found.pw_name, found.pw_gid))
        return MachineUser(name=found.pw_name, uid=found.pw_uid, groups=groups)

    def group(self, name: str) -> int | None:
        if name.isdigit():
            return int(name)
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            return None
