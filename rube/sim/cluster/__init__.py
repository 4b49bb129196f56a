"""Simulated clusters: apiservers, rubelets, controllers and users in a World, built of the classes that ship.

Begin with `cluster` (SimCluster, the whole cluster).

- Its machines: `machines` are the hosts, `storage` opens stores on their disks, `daemons` and `controller_group` put
  the daemons together.
- Those who work with it: `user` and `operators`; `backups` keeps what operators back up.
- What breaks it: `faults` at one moment, `disasters` and `interrupts` over a time.
- What records its history for `rube.sim.judges`: `wire`, `recording`, `commit_log`, `watch_observer`, `follower`,
  `group_observer`, `memories`, `running_units`, `node_copies`, `durability`, `error_log`; and `convergence`, which says
  what is still missing.
"""
