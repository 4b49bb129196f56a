"""Messages in JSON, by the names of methods, for clients that have no generated code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc import StatusCode

from rube.transport.h2.messages import StatusError

Pools = Callable[[], Iterable[DescriptorPool]]
"""Returns the pools of descriptors that a server has now, beside Python's own."""
REASON_CHARS_MAX = 300


class JsonCodec:
    """Translates requests and responses between JSON and binary. An Any may hold a type of Python's pool or of
    `pools`."""

    def __init__(self, pools: Pools = tuple) -> None:
        self._pool: Any = _Pools(pools)
        self._methods: dict[str, tuple[Any, Any]] = {}

    def request(self, method: str, text: bytes) -> bytes:
        """Returns the binary form. Raises StatusError for text that is not the method's request."""
        message = self._classes(method)[0]()
        try:
            json_format.Parse(text, message, descriptor_pool=self._pool)
        except (json_format.Error, ValueError, TypeError, RecursionError) as error:
            reason = " ".join(str(error).split())[:REASON_CHARS_MAX]
            raise StatusError(
                StatusCode.INVALID_ARGUMENT, f"the request of {method} cannot be parsed: {reason}"
            ) from error
        data: bytes = message.SerializeToString(deterministic=True)
        return data

    def response(self, method: str, data: bytes) -> bytes:
        """Returns the JSON. Raises StatusError for an Any of a type that is not known here."""
        message = self._classes(method)[1].FromString(data)
        try:
            text = json_format.MessageToJson(message, indent=None, ensure_ascii=False, descriptor_pool=self._pool)
        except (json_format.Error, TypeError) as error:
            raise StatusError(
                StatusCode.INTERNAL, f"the response cannot be written in JSON ({error}): ask for application/proto"
            ) from error
        return text.encode() + b"\n"

    def _classes(self, method: str) -> tuple[Any, Any]:
        known = self._methods.get(method)
        if known is None:
            try:
                found: Any = descriptor_pool.Default().FindMethodByName(method.strip("/").replace("/", "."))
            except KeyError:
                raise StatusError(
                    StatusCode.UNIMPLEMENTED, f"{method} has no description here: ask for application/proto"
                ) from None
            known = (
                message_factory.GetMessageClass(found.input_type),
                message_factory.GetMessageClass(found.output_type),
            )
            self._methods[method] = known
        return known


class _Pools:
    """Python's pool of descriptors, then the server's, for json_format, which asks for messages by name alone."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def FindMessageTypeByName(self, name: str) -> Descriptor:
        for pool in (descriptor_pool.Default(), *self._pools()):
            try:
                return pool.FindMessageTypeByName(name)
            except KeyError:
                continue
        raise KeyError(name)
