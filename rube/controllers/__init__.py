"""The controller contract (State to Decision), its runtime, the drivers' port and the built-in controllers.

Begin with `contract` (what a controller is) and `spec` (one as data and a function). `runtime` is everything around a
decision: it sees through `cache`, commits decisions to the `outbox` before anything is carried out, and has `workers`,
`sender` and `attempts` carry it out. `driver` is the port to what a node controls. `cluster` has the controllers that
need no machine; `replicated` runs them in a Raft group. A kind of thing that nodes control has a package of its own:
systemd units `rube.units`.
"""
