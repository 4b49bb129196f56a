"""Server reflection, v1 and v1alpha: `grpcurl` and `buf curl` use it to ask a server for its services and messages.

grpcio-reflection has v1alpha alone. v1 differs from it in the package's name, so that the same servicer answers both
(https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc import aio

V1_PACKAGE = "grpc.reflection.v1"
V1_FILE = "grpc/reflection/v1/reflection.proto"
V1_SERVICE = f"{V1_PACKAGE}.ServerReflection"


Pools = Callable[[], Iterable[DescriptorPool]]
"""Returns the pools of descriptors that a server has now, beside Python's own."""


def add_reflection(server: aio.Server, service_names: Sequence[str], pools: Pools = tuple) -> None:
    """Serves both versions, which list `service_names` and themselves, and describe the messages of `pools`, too."""
    from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

    reflected = (*service_names, reflection.SERVICE_NAME, V1_SERVICE)
    pool = _Pool(reflection_pb2.DESCRIPTOR, pools)
    servicer: Any = reflection.aio.ReflectionServicer(reflected, pool)  # type: ignore[attr-defined]  # stubs lack aio
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handlers = {"ServerReflectionInfo": method}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(V1_SERVICE, handlers),))
    server.add_registered_method_handlers(V1_SERVICE, handlers)  # type: ignore[attr-defined]  # the stubs lack it


class _Pool:
    """The default pool of descriptors, v1 of reflection beside it (a package with that file may be imported later, and
    must be able to add it), and then those of the server."""

    def __init__(self, alpha: FileDescriptor, pools: Pools) -> None:
        self._pools = pools
        self._default: Any = descriptor_pool.Default()
        self._own: Any = descriptor_pool.DescriptorPool()
        self._own.Add(_v1_of(alpha))

    def FindFileByName(self, name: str) -> FileDescriptor:
        return self._find("FindFileByName", name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        return self._find("FindFileContainingSymbol", symbol)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._default, name)

    def _find(self, method: str, name: str) -> FileDescriptor:
        for pool in (self._default, self._own, *self._pools()):
            try:
                found: FileDescriptor = getattr(pool, method)(name)
            except KeyError:
                continue
            return found
        raise KeyError(name)


def _v1_of(alpha: FileDescriptor) -> descriptor_pb2.FileDescriptorProto:
    v1 = descriptor_pb2.FileDescriptorProto()
    alpha.CopyToProto(v1)
    v1.name, v1.package = V1_FILE, V1_PACKAGE
    for message in v1.message_type:
        for field in message.field:
            if field.HasField("type_name"):
                field.type_name = field.type_name.replace(f".{alpha.package}.", f".{V1_PACKAGE}.")
    for service in v1.service:
        for method in service.method:
            method.input_type = method.input_type.replace(f".{alpha.package}.", f".{V1_PACKAGE}.")
            method.output_type = method.output_type.replace(f".{alpha.package}.", f".{V1_PACKAGE}.")
    v1.options.Clear()
    v1.options.go_package = "google.golang.org/grpc/reflection/grpc_reflection_v1"
    v1.options.java_multiple_files = True
    v1.options.java_package = "io.grpc.reflection.v1"
    v1.options.java_outer_classname = "ServerReflectionProto"
    return v1
