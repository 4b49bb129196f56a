"""Simulated clusters: apiservers, rubelets, controllers and users in a World, built of the classes that ship.

Begin with `cluster` (SimCluster, the whole cluster) and `daemons` (the composition of each daemon). `machines` are the
hosts; `faults` and `disasters` break them; `user`, `observer` and `operators` work with the cluster. `wire`,
`recording`, `commit_log`, `running_units`, `node_copies`, `group_observer` and `error_log` record the history that
`rube.sim.judges` judges.
"""
