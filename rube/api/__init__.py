"""The API: its messages, and the parts that every package needs to speak them: keys, selectors, the textproto codec,
the error tree.

Messages and stubs are imported from here: `from rube.api import Object, PutRequest, Unit`. A module is loaded when one
of its names is used. This package imports nothing else of rube, does no I/O and knows no clock.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rube.api.cluster_pb2 import Lease as Lease
    from rube.api.cluster_pb2 import Node as Node
    from rube.api.cluster_pb2 import NodeStatus as NodeStatus
    from rube.api.conditions_pb2 import StatusCondition as StatusCondition
    from rube.api.controller_pb2 import Action as Action
    from rube.api.controller_pb2 import Call as Call
    from rube.api.controller_pb2 import Decision as Decision
    from rube.api.controller_pb2 import State as State
    from rube.api.core_pb2 import Namespace as Namespace
    from rube.api.core_pb2 import NamespaceStatus as NamespaceStatus
    from rube.api.memory_pb2 import Entry as Entry
    from rube.api.memory_pb2 import NodeHealthMemory as NodeHealthMemory
    from rube.api.memory_pb2 import NodeIdentity as NodeIdentity
    from rube.api.memory_pb2 import UnitMemory as UnitMemory
    from rube.api.memory_pb2 import Written as Written
    from rube.api.nodes_pb2 import NodeReply as NodeReply
    from rube.api.nodes_pb2 import NodeReplyResponse as NodeReplyResponse
    from rube.api.nodes_pb2 import NodeRequest as NodeRequest
    from rube.api.nodes_pb2 import NodeRequestsRequest as NodeRequestsRequest
    from rube.api.nodes_pb2_grpc import NodesAsyncStub as NodesAsyncStub
    from rube.api.nodes_pb2_grpc import NodesServicer as NodesServicer
    from rube.api.nodes_pb2_grpc import NodesStub as NodesStub
    from rube.api.nodes_pb2_grpc import add_NodesServicer_to_server as add_NodesServicer_to_server
    from rube.api.resource_pb2 import Column as Column
    from rube.api.resource_pb2 import Resource as Resource
    from rube.api.resource_pb2 import Scope as Scope
    from rube.api.resource_pb2 import Transition as Transition
    from rube.api.systemd_pb2 import Condition as Condition
    from rube.api.systemd_pb2 import Install as Install
    from rube.api.systemd_pb2 import NodeLost as NodeLost
    from rube.api.systemd_pb2 import Service as Service
    from rube.api.systemd_pb2 import StartLimit as StartLimit
    from rube.api.systemd_pb2 import Unit as Unit
    from rube.api.systemd_pb2 import UnitAction as UnitAction
    from rube.api.systemd_pb2 import UnitObservation as UnitObservation
    from rube.api.systemd_pb2 import UnitStatus as UnitStatus
    from rube.api_pb2 import ApplyRequest as ApplyRequest
    from rube.api_pb2 import ApplyResponse as ApplyResponse
    from rube.api_pb2 import Bookmark as Bookmark
    from rube.api_pb2 import DeleteRequest as DeleteRequest
    from rube.api_pb2 import DeleteResponse as DeleteResponse
    from rube.api_pb2 import Deletion as Deletion
    from rube.api_pb2 import Event as Event
    from rube.api_pb2 import Fence as Fence
    from rube.api_pb2 import FieldOwner as FieldOwner
    from rube.api_pb2 import FieldOwners as FieldOwners
    from rube.api_pb2 import GetRequest as GetRequest
    from rube.api_pb2 import GetResponse as GetResponse
    from rube.api_pb2 import Key as Key
    from rube.api_pb2 import List as List
    from rube.api_pb2 import ListRequest as ListRequest
    from rube.api_pb2 import ListResponse as ListResponse
    from rube.api_pb2 import LogLine as LogLine
    from rube.api_pb2 import LogsRequest as LogsRequest
    from rube.api_pb2 import LogsResponse as LogsResponse
    from rube.api_pb2 import Metadata as Metadata
    from rube.api_pb2 import Object as Object
    from rube.api_pb2 import OwnerReference as OwnerReference
    from rube.api_pb2 import PatchRequest as PatchRequest
    from rube.api_pb2 import PatchResponse as PatchResponse
    from rube.api_pb2 import Precondition as Precondition
    from rube.api_pb2 import PutRequest as PutRequest
    from rube.api_pb2 import PutResponse as PutResponse
    from rube.api_pb2 import Selector as Selector
    from rube.api_pb2 import UpdateLifecycleRequest as UpdateLifecycleRequest
    from rube.api_pb2 import UpdateLifecycleResponse as UpdateLifecycleResponse
    from rube.api_pb2 import UpdateStatusRequest as UpdateStatusRequest
    from rube.api_pb2 import UpdateStatusResponse as UpdateStatusResponse
    from rube.api_pb2 import WatchRequest as WatchRequest
    from rube.api_pb2 import WatchResponse as WatchResponse
    from rube.api_pb2_grpc import ApiAsyncStub as ApiAsyncStub
    from rube.api_pb2_grpc import ApiServicer as ApiServicer
    from rube.api_pb2_grpc import ApiStub as ApiStub
    from rube.api_pb2_grpc import add_ApiServicer_to_server as add_ApiServicer_to_server

# The generated module of each name. Loaded when it is first asked for: a short command needs few of them.
_MODULES = {
    "rube.api_pb2": (
        "ApplyRequest ApplyResponse Bookmark DeleteRequest DeleteResponse Deletion Event Fence FieldOwner FieldOwners "
        "GetRequest GetResponse Key List ListRequest ListResponse LogLine LogsRequest LogsResponse Metadata "
        "Object OwnerReference PatchRequest PatchResponse Precondition PutRequest PutResponse Selector "
        "UpdateLifecycleRequest UpdateLifecycleResponse UpdateStatusRequest UpdateStatusResponse "
        "WatchRequest WatchResponse "
    ),
    "rube.api_pb2_grpc": "ApiAsyncStub ApiServicer ApiStub add_ApiServicer_to_server",
    "rube.api.cluster_pb2": "Lease Node NodeStatus",
    "rube.api.conditions_pb2": "StatusCondition",
    "rube.api.core_pb2": "Namespace NamespaceStatus",
    "rube.api.controller_pb2": "Action Call Decision State",
    "rube.api.memory_pb2": "Entry NodeHealthMemory NodeIdentity UnitMemory Written",
    "rube.api.nodes_pb2": "NodeReply NodeReplyResponse NodeRequest NodeRequestsRequest",
    "rube.api.nodes_pb2_grpc": "NodesAsyncStub NodesServicer NodesStub add_NodesServicer_to_server",
    "rube.api.resource_pb2": "Column Resource Scope Transition",
    "rube.api.systemd_pb2": (
        "Condition Install NodeLost Service StartLimit Unit UnitAction UnitObservation UnitStatus "
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if (module := _MODULE_OF.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # An AsyncStub is the type of a Stub on a channel of grpc.aio.
    value = globals()[name] = getattr(importlib.import_module(module), name.replace("AsyncStub", "Stub"))
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
