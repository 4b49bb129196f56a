"""Simulated clusters: apiservers, rubelets, controllers and users in a World, built of the classes that ship.

Begin with `cluster` (SimCluster: what a cluster is made of) and `daemons` (how each daemon is composed). `machines`
are the hosts; `faults` and `disasters` break them; `user`, `observer` and `operators` are who works with the cluster.
`wire`, `recording`, `commit_log`, `running_units`, `node_copies`, `group_observer` and `error_log` write down the
history that `rube.sim.judges` judges.
"""
