"""A store on an external etcd: any number of apiservers over one cluster.

Here: etcd's own gRPC API (`rpc.proto`), spoken over the host's channels, and `rube.store.Store` in its terms. etcd's
revisions are Rube's revisions, its watch is our watch. Not here: how etcd is run.
"""
