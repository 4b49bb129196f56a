"""Types of objects: those that are built in, and those that users push to a running cluster. Pure.

A `Types` (`kinds`) is a value: components are handed one, and two of them can differ in a process.

- A pushed type (`pushed`) is checked as an attacker would have written it: `files`, with `protos`, `provided`,
  `declarations`, `symbols` and `wellformed`.
- Two versions of a type: `versions` (their order) and `evolution` (what breaks).
- Rules of objects: `rules` finds and judges by them, `change` those of a change, with `declared`, `options` and
  `engine`; errors are made in `violation` and `wording`, and `rule_words` shows rules to people.
- The price of a rule in CEL is bounded before it is taken: `cel`, `expressions`, `shapes`, `cost`, `samples`.

The server's part (storing types, watching them) is in `rube.server`, their compiler in `rube.compiler`.
"""

from __future__ import annotations

from rube.api.types.kinds import BUILTIN, Column, Kind, Types, is_any, pack

__all__ = ["BUILTIN", "Column", "Kind", "Types", "is_any", "pack"]
