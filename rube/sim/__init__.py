"""Deterministic simulation: the shipped daemons in one process, where time is virtual and faults are free.

Rooms, each standing only on those below it:

- `search`: one scenario under many seeds or settings, and shrinking.
- `scenario`: a scenario file is read, checked, played and judged. Begin here, with `Simulation`.
- `story`: a run as a page, as a Perfetto trace, as a difference from another.
- `cluster`: apiservers, rubelets and users of a world, and what breaks them.
- `report`: the result of a run, as text and JSON. `units`: a simulated service manager. `etcd`: a simulated etcd.
  `sqlite`: SQLite itself on simulated disks.
- `judges`: pure functions from the history of a run to verdicts.
- `world`: the kernel, the network and the disks; it knows nothing of the above.
"""
