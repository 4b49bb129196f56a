"""The API: its messages, and the parts that every package needs to speak them: keys, selectors, the textproto codec,
the error tree.

Messages and stubs are imported from here: `from rube.api import Object, PutRequest, Unit`. A module is loaded when one
of its names is used. This package imports nothing else of rube, does no I/O and knows no clock.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rube.api import events_pb2
    from rube.api.auth_pb2 import *
    from rube.api.auth_pb2_grpc import *
    from rube.api.cluster_pb2 import *
    from rube.api.conditions_pb2 import *
    from rube.api.controller_pb2 import *
    from rube.api.core_pb2 import *
    from rube.api.memory_pb2 import *
    from rube.api.nodes_pb2 import *
    from rube.api.nodes_pb2_grpc import *
    from rube.api.resource_pb2 import *
    from rube.api.systemd_pb2 import *
    from rube.api.types_pb2 import *
    from rube.api_pb2 import *
    from rube.api_pb2_grpc import *

    CoreEvent = events_pb2.Event

# The names of each generated module. Loaded when one is first asked for: a short command needs few of them.
_MODULES = {
    "rube.api_pb2": (
        "ApplyRequest ApplyResponse Bookmark DeleteRequest DeleteResponse Deletion Event Fence FieldOwner FieldOwners "
        "Freshness GetRequest GetResponse HistoryRequest HistoryResponse Key List ListRequest ListResponse LogLine "
        "LogsRequest LogsResponse Metadata Object OwnerReference PatchRequest PatchResponse Precondition PutRequest "
        "PutResponse RenewLeaseRequest RenewLeaseResponse "
        "Selector UpdateLifecycleRequest UpdateLifecycleResponse UpdateStatusRequest UpdateStatusResponse Version "
        "WatchRequest WatchResponse "
    ),
    "rube.api.auth_pb2": (
        "AuditEntry AuditObject AuditRequest AuditResponse Binding CertificateRequest ExplainRequest ExplainResponse "
        "IssuedCertificate RenewalRequest Revocation Role Rule Subject Token TokenStatus TokenUse WhoAmIRequest "
        "WhoAmIResponse "
    ),
    "rube.api.auth_pb2_grpc": (
        "CertificatesAsyncStub CertificatesServicer CertificatesStub RightsAsyncStub RightsServicer RightsStub "
        "add_CertificatesServicer_to_server add_RightsServicer_to_server "
    ),
    "rube.api_pb2_grpc": "ApiAsyncStub ApiServicer ApiStub add_ApiServicer_to_server",
    "rube.api.cluster_pb2": "Lease Node NodeStatus",
    "rube.api.conditions_pb2": "StatusCondition",
    "rube.api.core_pb2": "Namespace NamespaceStatus",
    "rube.api.events_pb2": "CoreEvent",
    "rube.api.controller_pb2": "Action Call ControllerSpec Decision Occurrence State",
    "rube.api.memory_pb2": "Entry NodeHealthMemory NodeIdentity UndoneEvent UnitMemory Written",
    "rube.api.nodes_pb2": "NodeReply NodeReplyResponse NodeRequest NodeRequestsRequest",
    "rube.api.nodes_pb2_grpc": "NodesAsyncStub NodesServicer NodesStub add_NodesServicer_to_server",
    "rube.api.resource_pb2": "Column Field Resource Scope Transition",
    "rube.api.types_pb2": "Type TypeGate Veto",
    "rube.api.systemd_pb2": (
        "Condition Install NodeLost NodePolicy Service StartLimit Unit UnitAction UnitObservation UnitStatus "
    ),
}
# An Event without a package is a change that a watch tells of.
_OWN_NAMES = {"CoreEvent": "Event"}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}


if not TYPE_CHECKING:  # to a type checker it would mean that there is every name

    def __getattr__(name: str) -> Any:
        if (module := _MODULE_OF.get(name)) is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # An AsyncStub is the type of a Stub on a channel of grpc.aio.
        own_name = _OWN_NAMES.get(name, name.replace("AsyncStub", "Stub"))
        value = globals()[name] = getattr(importlib.import_module(module), own_name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
