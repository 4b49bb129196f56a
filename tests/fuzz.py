"""Damaged inputs by the million: `python -m tests.fuzz`, or `make campaign-fuzz`.

Each reader of foreign bytes gets samples that are cut, flipped, joined and repeated. It may raise the errors that it
promises; any other one is a defect, and so is an input that takes INPUT_S_MAX. A run is a function of its seed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError, Message

from rube.api import (
    ApplyRequest,
    DeleteRequest,
    Fence,
    GetRequest,
    HistoryRequest,
    Key,
    ListRequest,
    Metadata,
    Object,
    PatchRequest,
    Precondition,
    PutRequest,
    Role,
    Rule,
    Service,
    Unit,
    UpdateLifecycleRequest,
    UpdateStatusRequest,
    selectors,
    textproto,
)
from rube.api.errors import RubeError
from rube.api.page_token import PageToken, decode_token, encode_token
from rube.api.types import pack
from rube.group import group_pb2
from rube.host import Host, RealClock, RealRandomness
from rube.server import ApiServerConfig
from rube.server.attachments import Attachments
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.rights.checks import RIGHTS_CHECKS
from rube.server.service import ApiService
from rube.store import RealStorage, Record, Store, open_store
from rube.store.maintenance.format import BackupHeader, Decoder, Encoder
from rube.transport import GrpcNetwork
from rube.transport.h2.json_codec import JsonCodec
from rube.transport.h2.messages import StatusError
from rube.transport.packing.codec import Packer, UnpackError
from rube.units.spec_checks import built_in_spec_checks

INPUT_S_MAX: Final = 10.0
CALLERS_FAULTS: Final = frozenset(
    [
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "ABORTED",
        "OUT_OF_RANGE",
        "FAILED_PRECONDITION",
        "RESOURCE_EXHAUSTED",
    ]
)
"""The codes that a request may end with on a server that is well."""
TEXT: Final = b"""metadata { namespace: "shop" name: 'till' labels { key: "a" value: "\\x41\\u00e9" } generation: 0x1F }
spec { [rube/api.systemd.Unit] { description: "a" "b" service { type: SIMPLE exec { start: "/bin/true" }
  time { restart: 1 timeout: -2.5e3 } status { success: [0, 1, 2] } } enabled: true } } # end
"""


AWKWARD: Final = (b"\\", b'"', b"{", b"}", b"[", b"\xff" * 9 + b"\x01", b"\0", b"(" * 200, b"{" * 2_000)


class Defect(Exception):
    """A reader raised what it does not promise, or took too long."""


class Reader(NamedTuple):
    """A reader of foreign bytes, samples of them, and the errors that it may raise."""

    read: Callable[[bytes], object]
    samples: Sequence[bytes]
    errors: tuple[type[Exception], ...]


def mutated(chance: random.Random, samples: Sequence[bytes]) -> bytes:
    """Returns a sample with some damage."""
    data = bytearray(chance.choice(samples))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        place = chance.randrange(len(data) + 1)
        end = min(len(data), place + chance.choice((1, 2, 4, 16, 64)))
        match chance.randrange(7):
            case 0:
                del data[place:end]
            case 1 if data:
                data[place % len(data)] ^= 1 << chance.randrange(8)
            case 2:
                data[place:place] = data[place:end] * chance.choice((1, 2, 50))
            case 3:
                data[place:place] = chance.randbytes(chance.choice((1, 2, 8)))
            case 4:
                other = chance.choice(samples)
                data[place:end] = other[chance.randrange(len(other) + 1) :][:64]
            case 5:
                data[place:end] = chance.choice(
                    (b"\\", b'"', b"{", b"}", b"[", b"\xff" * 9 + b"\x01", b"\0", b"(" * 200)
                )
            case _:
                del data[place:]
    return bytes(data)


def _text(data: bytes) -> object:
    return textproto.parse_documents(data.decode(errors="replace"), "fuzz")


def _selector(data: bytes) -> object:
    text = data.decode(errors="replace")
    selector = selectors.parse(text)
    if selectors.parse(str(selector)) != selector:
        raise Defect("it prints another selector than it has read")
    return selector


def _token(data: bytes) -> object:
    return decode_token(data.decode(errors="replace"), "a scope")


def _backup(data: bytes) -> object:
    decoder = Decoder("fuzz")
    middle = len(data) // 2
    return [*decoder.feed(data[:middle]), *decoder.feed(data[middle:]), *decoder.end()]


def _peers(data: bytes) -> object:
    return [each.FromString(data) for each in (group_pb2.Batch, group_pb2.Piece, group_pb2.Subscription)]


def _sample_backup() -> bytes:
    encoder = Encoder()
    records = [Record(f"api.Node//n{number}".encode(), b"value", 1, number + 1) for number in range(5)]
    return encoder.start(BackupHeader("a" * 32, 9)) + encoder.records(records) + encoder.finish()


def sample_requests() -> list[Message]:
    unit = Unit(description="d", service=Service())
    unit.service.exec.start.append("/bin/true")
    made = Object(metadata=Metadata(namespace="shop", name="till", labels={"a": "b"}), spec=pack(unit))
    role = Object(
        metadata=Metadata(name="r"), spec=pack(Role(rules=[Rule(verbs=["get"], types=["*"], condition="true")]))
    )
    key = Key(type="api.systemd.Unit", namespace="shop", name="till")
    patch = PatchRequest(object=made)
    patch.update_mask.paths.append("spec.description")
    return [
        PutRequest(objects=[made], request_id="x"),
        PutRequest(objects=[role], fence=Fence(group="g", term=1), preconditions=[Precondition(revision=3)]),
        patch,
        ApplyRequest(objects=[made], owner="me"),
        DeleteRequest(keys=[key]),
        GetRequest(key=key, revision=1, include_owners=True),
        HistoryRequest(key=key, page_size=2),
        ListRequest(type=key.type, namespace="shop", label_selector="a=b", page_size=1, page_token="x"),
        UpdateStatusRequest(key=key, uid="u", observed_generation=1),
        UpdateLifecycleRequest(key=key, add_finalizers=["a.b/c"]),
    ]


class Server:
    """An apiserver's verbs on a store in memory, in an event loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.requests = {type(each).__name__: type(each) for each in sample_requests()}
        self._service, self._store = self.loop.run_until_complete(self._make())

    async def _make(self) -> tuple[Any, Store]:
        host = Host(name="f", clock=RealClock(), network=GrpcNetwork(), storage=RealStorage(), random=RealRandomness())
        store = await open_store(host, "memory:")
        config = ApiServerConfig(spec_checks={**built_in_spec_checks(), **RIGHTS_CHECKS})
        attachments = Attachments(host.clock, node_answers_max=1, answers_max=1)
        types = KnownTypes(store, host.clock)
        return ApiService(host, store, types, Namespaces(host.clock, store), config, attachments), store

    def call(self, data: bytes) -> object:
        """Carries out the request whose type is the first word, unless it does not parse."""
        name, _, rest = data.partition(b" ")
        kind = self.requests.get(name.decode(errors="replace"))
        if kind is None:
            return None
        try:
            request = kind.FromString(rest)
        except DecodeError:
            return None
        method = getattr(self._service, kind.__name__.removesuffix("Request"))
        try:
            return self.loop.run_until_complete(method(request, None))
        except RubeError as error:
            if error.code not in CALLERS_FAULTS:
                raise Defect(f"{kind.__name__} ended with {error.code}: {error.message}") from error
            return None

    def close(self) -> None:
        self.loop.run_until_complete(self._service.close())
        self.loop.run_until_complete(self._store.close())
        self.loop.close()


def readers(server: Server) -> dict[str, Reader]:
    """Returns the readers, by name."""
    requests = sample_requests()
    named = [type(each).__name__.encode() + b" " + each.SerializeToString() for each in requests]
    packer = Packer()
    codec = JsonCodec()
    json = [b'{"key":{"type":"api.systemd.Unit","namespace":"shop","name":"till"},"revision":"1"}']
    return {
        "text": Reader(_text, [TEXT, TEXT + b"\n\n" + TEXT], (RubeError,)),
        "selectors": Reader(_selector, [b"a=b,c!=d,!e,f", b"a in (b,c),d notin (e)", b"node=worker-1"], (RubeError,)),
        "tokens": Reader(_token, [encode_token(PageToken(7, b"key"), "a scope").encode(), b"x"], (RubeError,)),
        "requests": Reader(server.call, named, ()),
        "json": Reader(lambda data: codec.request("/api.Api/Get", data), json, (StatusError,)),
        "packed": Reader(
            lambda data: packer.unpack(data, 1 << 20), [packer.pack(TEXT * 20), packer.pack(b"x")], (UnpackError,)
        ),
        "backups": Reader(_backup, [_sample_backup()], (RubeError,)),
        "peers": Reader(_peers, [each.SerializeToString() for each in _messages()], (DecodeError,)),
    }


def _messages() -> list[Message]:
    batch = group_pb2.Batch()
    batch.messages.add().term = 7
    return [batch, group_pb2.Subscription(group_id="g", subscriber=1, sender=2), group_pb2.Piece(group_id="g")]


def campaign(reader: Reader, count: int, seed: int) -> None:
    """Gives a reader so many inputs. Raises Defect that has the input."""
    chance = random.Random(seed)
    for number in range(count):
        data = mutated(chance, reader.samples)
        begun_s = time.monotonic()
        try:
            reader.read(data)
        except reader.errors:
            pass
        except Exception as error:
            raise Defect(f"input {number} of seed {seed}, {data!r}: {error!r}") from error
        if (took_s := time.monotonic() - begun_s) > INPUT_S_MAX:
            raise Defect(f"input {number} of seed {seed}, {data!r}: took {took_s:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Gives every reader of foreign bytes damaged inputs.")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", action="append", help="this one alone; repeat it")
    options = parser.parse_args()
    server, failed = Server(), False
    for name, reader in readers(server).items():
        if options.reader and name not in options.reader:
            continue
        try:
            campaign(reader, options.inputs, options.seed)
            print(f"{name}: {options.inputs} inputs, no defect", flush=True)
        except Defect as defect:
            failed = True
            print(f"{name}: {defect}", flush=True)
    server.close()
    sys.exit(failed)


if __name__ == "__main__":
    main()
