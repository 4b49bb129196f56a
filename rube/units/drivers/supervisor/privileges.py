"""The capabilities and the no_new_privs flag of a unit's process (capabilities(7), prctl(2)).

A process keeps more of its parent than its user: inheritable and ambient capabilities outlive a change of the user, and
with secure bits the others do, too. A unit has those of its user alone, as under systemd: root's within the rubelet's
bounding set, or none.
"""

from __future__ import annotations

import ctypes
import os

PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_VERSION_3 = 0x20080522
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def drop_capabilities(*, all_of_them: bool) -> None:
    """Drops the inheritable and ambient ones, and the others as well if it is to be all. Raises OSError."""
    _call(_LIBC.prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()
    _call(_LIBC.capget, ctypes.byref(header), sets)
    for each in sets:
        each.inheritable = 0
        if all_of_them:
            each.effective = each.permitted = 0
    _call(_LIBC.capset, ctypes.byref(header), sets)


def gain_no_more() -> None:
    """Sets no_new_privs: no set-uid program, and no file with capabilities, gives more rights. Raises OSError."""
    _call(_LIBC.prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _call(function: ctypes._NamedFuncPointer, *arguments: object) -> None:
    if function(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
