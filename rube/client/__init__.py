"""The typed client with several endpoints, the informer cache and the work queue.

`Client` calls; `Informer` keeps a copy of the objects that match; `WorkQueue` yields the next key to work on. The pure
cores are `object_cache` (the effect of a response on a copy) and `WorkQueueCore`. The use of the objects is the
caller's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rube.lazy import lazy_names

if TYPE_CHECKING:
    from rube.client.client import Client
    from rube.client.config import ClientConfig
    from rube.client.failure_log import FailureLog
    from rube.client.informer import Informer, InformerConfig
    from rube.client.object_cache import Batch, CacheState, Change, ObjectCache
    from rube.client.work_queue import WorkQueue, WorkQueueConfig, WorkQueueCore

__all__ = [
    "Batch",
    "CacheState",
    "Change",
    "Client",
    "ClientConfig",
    "FailureLog",
    "Informer",
    "InformerConfig",
    "ObjectCache",
    "WorkQueue",
    "WorkQueueConfig",
    "WorkQueueCore",
]

if not TYPE_CHECKING:  # to a type checker it would mean that there is every name
    __getattr__ = lazy_names(
        __name__,
        {
            "client": "Client",
            "config": "ClientConfig",
            "failure_log": "FailureLog",
            "informer": "Informer InformerConfig",
            "object_cache": "Batch CacheState Change ObjectCache",
            "work_queue": "WorkQueue WorkQueueConfig WorkQueueCore",
        },
    )
