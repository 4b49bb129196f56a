"""A store on an external etcd: any number of apiservers share one cluster.

This package speaks etcd's own gRPC API (`rpc.proto`) over the host's channels and implements `rube.store.Store` with
it. etcd's revisions are Rube's revisions, and etcd's watch is Rube's watch. Running etcd is not its business.
"""
