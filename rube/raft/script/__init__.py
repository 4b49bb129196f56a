"""Raft by script: the data-driven format of etcd-io/raft's interaction tests, as a library.

This package has the format (`parse_script`), and a cluster of cores that a script drives by hand, message by message.
It has no files, no terminals, and nothing that needs a host.
"""

from __future__ import annotations

from rube.raft.script.interaction import COMMANDS, Command, Interaction
from rube.raft.script.output import without_log_lines
from rube.raft.script.parser import Argument, Directive, Script, ScriptError, parse_line, parse_script, terminated

__all__ = [
    "COMMANDS",
    "Argument",
    "Command",
    "Directive",
    "Interaction",
    "Script",
    "ScriptError",
    "parse_line",
    "parse_script",
    "terminated",
    "without_log_lines",
]
