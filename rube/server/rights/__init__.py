"""Rights: who may do what. What no rule allows is denied.

- `subjects`: the identity of a caller, from its connection.
- `grants`: one rule of a role, as a binding gives it; `conditions`: its condition in CEL.
- `policy`: all roles and bindings at one moment. It decides, and is pure; `built_in` has what every cluster has.
- `checks`: the judgement of roles and bindings when they are put.
- `asked`: the objects and the verb of a request. `gate`: the one way in, of every call of every service.
- `sight`: the objects that a caller may see of those it asks for; `gated_writer`: the same for writes.
- `kept`: the policy of a store, kept up by a watch; `running`: watches that go on while it changes.
- `service`: explains a decision.
"""

from __future__ import annotations
