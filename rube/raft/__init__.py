"""Raft: the consensus core, pure and synchronous.

Messages, ticks, proposals and requests go in; a batch of what to persist, to send and to apply comes out (`RawNode`).
Here: elections, replication, membership, reads, snapshots, flow control. Not here: asyncio, a host, a clock, sockets,
disks, global randomness; who drives a core brings those. Behaviour follows etcd-io/raft 3.6 message for message.
Comments cite the "paper" (Ongaro and Ousterhout, In Search of an Understandable Consensus Algorithm, extended version)
and the "dissertation" (Ongaro, Consensus: Bridging Theory and Practice).
"""
