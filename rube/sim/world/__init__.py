"""A simulated world for asyncio programs: hosts, processes and time (`kernel`), a network (`network`), disks (`disk`).

It knows the ports (`rube.host`) and the shape of gRPC (`rube.transport`), and nothing of Rube's daemons: a store, a
Raft group or a foreign program can be tested on it alone. Begin with `World` and `SimNetwork`.
"""
