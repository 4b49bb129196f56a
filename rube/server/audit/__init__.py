"""The audit log: who did what, from where, by which rule, and how it ended.

- `files`: the port to the files that hold it.
- `lines`: a line, its hash and the chain. Pure, the judgement of a whole chain, too.
- `log`: the log of a running server: lines are added, synced, and new files begun.
- `reading`: the lines that a caller asks for, also those to come.
- `recording`: the line of a call.
"""

from __future__ import annotations
