"""The typed client with several endpoints, the informer cache and the work queue.

`Client` calls; `Informer` keeps a copy of the objects that match; `WorkQueue` says what to work on next. The pure
cores are `replica` (what a response makes of a copy) and `WorkQueueCore`. Not here: what is done with the objects.
"""

from rube.client.client import Client
from rube.client.complaint import Complaint
from rube.client.config import ClientConfig
from rube.client.informer import Informer, InformerConfig
from rube.client.replica import Batch, Change, Replica, ReplicaState
from rube.client.work_queue import WorkQueue, WorkQueueConfig, WorkQueueCore

__all__ = [
    "Batch",
    "Change",
    "Client",
    "ClientConfig",
    "Complaint",
    "Informer",
    "InformerConfig",
    "Replica",
    "ReplicaState",
    "WorkQueue",
    "WorkQueueConfig",
    "WorkQueueCore",
]
