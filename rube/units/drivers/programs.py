"""The reasons in words why a program could not be executed, or a user not be set, on this machine."""

from __future__ import annotations

import grp
import os
import pwd
import stat

SHEBANG_BYTES_MAX = 256
"""The most that Linux reads of a script's first line."""


def why_not_executable(path: str) -> str:
    """Returns such as `/nonexistent/bin: no such file`; empty if nothing is wrong with the file itself.

    It opens regular files only, so that it waits for no FIFO.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        return f"{path}: {error_words(error)}"
    if stat.S_ISDIR(found.st_mode):
        return f"{path}: is a directory"
    if not stat.S_ISREG(found.st_mode):
        return f"{path}: is not a regular file"
    if not found.st_mode & 0o111:
        return f"{path}: is not executable: chmod +x it"
    return _without_interpreter(path)


def no_file(path: str) -> str:
    """Returns why a file cannot be read, as `/etc/x.env: no such file`; empty if it is there."""
    try:
        os.stat(path)
    except OSError as error:
        return f"{path}: {error_words(error)}"
    return ""


def no_directory(path: str) -> str:
    """Returns why a directory cannot be entered; empty if it is there."""
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            return f"{path}: is not a directory"
    except OSError as error:
        return f"{path}: {error_words(error)}"
    return ""


def missing_user(user: str) -> str:
    """Returns `user 'web' does not exist on this machine`; empty if it does."""
    try:
        pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        return f"user {user!r} does not exist on this machine"
    return ""


def missing_group(group: str) -> str:
    """Returns `group 'web' does not exist on this machine`; empty if it does."""
    try:
        grp.getgrgid(int(group)) if group.isdigit() else grp.getgrnam(group)
    except KeyError:
        return f"group {group!r} does not exist on this machine"
    return ""


def _without_interpreter(path: str) -> str:
    try:
        with open(path, "rb") as file:
            first = file.read(SHEBANG_BYTES_MAX).split(b"\n", 1)[0]
    except OSError:
        return ""
    words = first[2:].split() if first.startswith(b"#!") else []
    if words and not os.path.exists(words[0]):
        return f"{path}: its interpreter {words[0].decode(errors='replace')} does not exist"
    if not first and not os.path.getsize(path):
        return f"{path}: is empty"
    return ""


def error_words(error: OSError) -> str:
    """Returns the system's words for the error, in lower case: `no such file`, `permission denied`."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return (error.strerror or str(error)).lower()
