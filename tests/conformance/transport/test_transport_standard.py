"""grpc.health.v1 and reflection, as foreign clients ask for them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from tests.conformance.transport.transport_service import SERVICE, Client
from tests.conformance.transport.transport_sites import Site

NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
HEALTH = "grpc.health.v1.Health"
VERSIONS = ["grpc.reflection.v1", "grpc.reflection.v1alpha"]
Ask = reflection_pb2.ServerReflectionRequest


async def channel_to(site: Site) -> aio.Channel:
    return Client(site.network.channel((await site.spawn()).address)).channel


async def failure(call: Any) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as raised:
        await call
    return raised.value


async def ask(channel: aio.Channel, package: str, *requests: Any) -> list[Any]:
    call = channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        Ask.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )(iter(requests))
    return [await call.read() for _ in requests]


async def test_health_is_checked_watched_and_listed(site: Site) -> None:
    stub = health_pb2_grpc.HealthStub(await channel_to(site))
    for service in ("", SERVICE):
        request = health_pb2.HealthCheckRequest(service=service)
        assert (await stub.Check(request)).status == NOT_SERVING
        watch = stub.Watch(request)
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()
    listed = await stub.List(health_pb2.HealthListRequest())
    assert {name: entry.status for name, entry in listed.statuses.items()} == {"": NOT_SERVING, SERVICE: NOT_SERVING}


async def test_the_health_of_a_service_that_is_not_there(site: Site) -> None:
    stub = health_pb2_grpc.HealthStub(await channel_to(site))
    request = health_pb2.HealthCheckRequest(service="x")
    assert (await failure(stub.Check(request))).code() is StatusCode.NOT_FOUND
    watch = stub.Watch(request)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


async def test_every_advertised_method_is_implemented(site: Site) -> None:
    channel = await channel_to(site)
    for method in health_pb2.DESCRIPTOR.services_by_name["Health"].methods:
        call = channel.unary_stream(f"/{HEALTH}/{method.name}")(b"")  # type: ignore[call-arg]  # grpc-stubs lag behind
        await call.read()
        call.cancel()


@pytest.mark.parametrize("package", VERSIONS)
async def test_reflection_lists_services_and_describes_them(site: Site, package: str) -> None:
    channel = await channel_to(site)
    (listed,) = await ask(channel, package, Ask(list_services="*"))
    names = [service.name for service in listed.list_services_response.service]
    assert names == sorted([HEALTH, SERVICE, *(f"{version}.ServerReflection" for version in VERSIONS)])
    described = await ask(channel, package, *(Ask(file_containing_symbol=name) for name in names if name != SERVICE))
    pool = descriptor_pool.DescriptorPool()
    for answer in described:
        for file in answer.file_descriptor_response.file_descriptor_proto:
            pool.Add(descriptor_pb2.FileDescriptorProto.FromString(file))
    for name in names:
        if name != SERVICE:  # the test's own service has no proto
            assert pool.FindServiceByName(name).methods
    method = pool.FindMethodByName(f"{package}.ServerReflection.ServerReflectionInfo")
    assert method.input_type.full_name == f"{package}.ServerReflectionRequest"
    assert [field.name for field in method.input_type.fields] == [field.name for field in Ask.DESCRIPTOR.fields]


@pytest.mark.parametrize("package", VERSIONS)
async def test_reflection_answers_what_it_does_not_know(site: Site, package: str) -> None:
    answers = await ask(
        await channel_to(site),
        package,
        Ask(file_containing_symbol="no.such.Symbol"),
        Ask(file_by_filename="no/such.proto"),
        Ask(),
    )
    assert [answer.error_response.error_code for answer in answers] == [
        StatusCode.NOT_FOUND.value[0],
        StatusCode.NOT_FOUND.value[0],
        StatusCode.INVALID_ARGUMENT.value[0],
    ]
