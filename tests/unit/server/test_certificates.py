"""Joining and renewal: who gets a certificate, and the errors of all others."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from grpc.aio import AioRpcError

from rube.api import (
    CertificateRequest,
    CertificatesStub,
    DeleteRequest,
    GetRequest,
    IssuedCertificate,
    Node,
    Object,
    PutRequest,
    RenewalRequest,
    Revocation,
    Token,
    TokenStatus,
)
from rube.api.errors import BusyError, RubeError
from rube.api.types import pack
from rube.api.well_known import TOKEN_TYPE
from rube.cli.audit_files import RealAuditFiles
from rube.cli.real_host import real_host
from rube.client import Client
from rube.host import RealClock
from rube.server import ApiServer, ApiServerConfig
from rube.server.audit.log import AuditLog
from rube.server.certificates_config import CertificatesConfig
from rube.server.entrance.kinds import CallKind
from rube.server.entrance.limits import FairnessConfig, Share
from rube.store import open_store
from rube.transport import rube_error
from rube.trust import Authority, Identity, Key
from rube.trust.ca_directory import CA_FILE, CA_KEY, CaDirectory
from rube.trust.keys import write_file
from rube.trust.names import alternative_names
from rube.trust.requests import key_hash, make_request

DAY_NS = 24 * 3600 * 10**9
NOW_NS = 20_000 * DAY_NS
SECRET = "s3cret"
NODE = Identity(kind="node", name="edge-1")


class SetClock(RealClock):
    """A clock whose wall time is set by hand."""

    def __init__(self, now_ns: int) -> None:
        self.wall_ns = now_ns

    def now_ns(self) -> int:
        return self.wall_ns


def authorities(path: Path) -> CaDirectory:
    path.mkdir()
    made = Authority.make(path.name, NOW_NS - 30 * DAY_NS)
    write_file(path / CA_KEY, made.key.pem(), 0o600)
    write_file(path / CA_FILE, made.pem(), 0o644)
    return CaDirectory(path, "rube")


class Plane:
    """An apiserver at a Unix socket, whose clock is set by hand, with a token for two nodes of edge-*."""

    def __init__(self, path: Path, ca: CaDirectory, clock: SetClock, client: Client, stub: Any) -> None:
        self.path, self.ca, self.clock, self.client, self.stub = path, ca, clock, client, stub
        self.key = Key.make()

    async def put(self, spec: Any, name: str) -> None:
        obj = Object(spec=pack(spec))
        obj.metadata.name = name
        await self.client.put(PutRequest(objects=[obj]))

    async def uses(self) -> int:
        request = GetRequest()
        request.key.type, request.key.name = TOKEN_TYPE, "t1"
        status = TokenStatus()
        (await self.client.get(request)).object.status.Unpack(status)
        return len(status.uses)

    async def call(self, method: Any, request: Any) -> IssuedCertificate:
        try:
            answer: IssuedCertificate = await method(request, timeout=10)
        except AioRpcError as error:
            raise rube_error(error) from error
        return answer

    async def join(self, identity: Identity = NODE, key: Key | None = None, **given: Any) -> IssuedCertificate:
        request = CertificateRequest(token="t1", secret=SECRET, csr=make_request(key or self.key, identity))
        request.MergeFrom(CertificateRequest(**given))
        return await self.call(self.stub.Join, request)

    async def renew(self, certificate: bytes, identity: Identity = NODE, **given: Any) -> IssuedCertificate:
        request = RenewalRequest(certificate=certificate, csr=make_request(self.key, identity), instance_id="i1")
        request.MergeFrom(RenewalRequest(**given))
        return await self.call(self.stub.Renew, request)

    def issued(self, identity: Identity, *, ca: CaDirectory | None = None, days: tuple[float, float]) -> bytes:
        begin_ns, end_ns = (NOW_NS + int(day * DAY_NS) for day in days)
        public = self.key.private.public_key()
        return (ca or self.ca).authority().issue(identity, public, begin_ns=begin_ns, end_ns=end_ns)


def run(path: Path, test: Callable[[Plane], Awaitable[None]], **config: Any) -> None:
    async def main() -> None:
        clock, ca, address = SetClock(NOW_NS), authorities(path / "ca"), f"unix:{path}/s"
        host = replace(real_host(), clock=clock)
        store = await open_store(host, "memory:")
        signing = CertificatesConfig(signer=ca)
        audit = AuditLog(clock, RealAuditFiles(path / "audit"), "a")
        server = ApiServer(host, store, ApiServerConfig(listen=[address], certificates=signing, audit=audit, **config))
        token = Token(secret_hash=hashlib.sha256(SECRET.encode()).digest(), identities=["node/edge-*"], uses_max=2)
        token.expire_time.FromNanoseconds(NOW_NS + DAY_NS)
        await server.start()
        try:
            async with Client(host, [address]) as client, host.network.channel(address) as channel:
                plane = Plane(path, ca, clock, client, CertificatesStub(channel))
                await plane.put(token, "t1")
                await test(plane)
        finally:
            await server.stop(0)
            await store.close()

    asyncio.run(main())


def test_a_machine_with_a_token_joins_and_renews(tmp_path: Path) -> None:
    async def test(plane: Plane) -> None:
        issued = await plane.join()
        leaf, root = x509.load_pem_x509_certificates(issued.certificate)
        assert leaf.not_valid_after_utc.timestamp() * 10**9 == NOW_NS + 7 * DAY_NS
        assert key_hash(leaf.public_key()) == key_hash(plane.key.private.public_key())
        assert root.public_bytes(Encoding.PEM) == issued.authorities
        await plane.join()  # its answer was lost, say
        assert await plane.uses() == 1
        plane.clock.wall_ns += 4 * DAY_NS
        renewed = x509.load_pem_x509_certificate((await plane.renew(issued.certificate)).certificate)
        assert renewed.not_valid_after_utc.timestamp() * 10**9 == NOW_NS + 11 * DAY_NS

    run(tmp_path, test)


def test_a_lapsed_node_renews_while_its_object_names_the_same_instance(tmp_path: Path) -> None:
    async def test(plane: Plane) -> None:
        await plane.put(Node(instance_id="i1"), "edge-1")
        lapsed = plane.issued(NODE, days=(-97, -90))
        plane.ca.rotate("next", NOW_NS)
        plane.ca.retire()
        issued = await plane.renew(lapsed)
        assert len(x509.load_pem_x509_certificates(issued.certificate)) == 3
        assert len(x509.load_pem_x509_certificates(issued.authorities)) == 1

    run(tmp_path, test)


def test_joins_are_in_the_audit_log_without_secret_and_key_and_a_flood_of_refused_ones_has_one_line(
    tmp_path: Path,
) -> None:
    async def test(plane: Plane) -> None:
        issued = await plane.join()
        await plane.renew(issued.certificate)
        for _ in range(3):
            with pytest.raises(RubeError):
                await plane.join(csr=b"?")

    run(tmp_path, test)
    text = (tmp_path / "audit").read_text()
    calls = [line for line in map(json.loads, text.splitlines()) if line.get("verb") not in (None, "put")]
    token = {"type": TOKEN_TYPE, "name": "t1"}
    assert [(c["verb"], c.get("certified"), c.get("objects"), c["code"]) for c in calls] == [
        ("join", "node/edge-1", [{**token, "oldRevision": 1, "newRevision": 2}], "OK"),
        ("renew_certificate", "node/edge-1", None, "OK"),
        ("join", None, [token], "INVALID_ARGUMENT"),
    ]
    assert SECRET not in text
    assert "BEGIN" not in text


def test_joins_have_their_turns_beside_other_calls(tmp_path: Path) -> None:
    async def test(plane: Plane) -> None:
        with pytest.raises(BusyError, match="joins waiting"):
            await plane.join()

    share = Share(turns_max=0, caller_turns_max=1)
    shares = {**FairnessConfig().shares, CallKind.JOINS: share}
    run(tmp_path, test, fairness=FairnessConfig(shares=shares, waiting_max=0))


def weak_request(_: Plane) -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    names = x509.SubjectAlternativeName(alternative_names(NODE))
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=False)
    return built.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def forged_request(plane: Plane) -> bytes:
    der = x509.load_pem_x509_csr(make_request(plane.key, NODE)).public_bytes(Encoding.DER)
    body = base64.encodebytes(der.replace(b"edge-1", b"edge-9")).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n".encode()


async def stolen(plane: Plane) -> Any:
    return await plane.join(secret="guessed")


async def revoked_token(plane: Plane) -> Any:
    request = DeleteRequest()
    request.keys.add(type=TOKEN_TYPE, name="t1")
    await plane.client.delete(request)
    return await plane.join()


async def expired_token(plane: Plane) -> Any:
    plane.clock.wall_ns += 2 * DAY_NS
    return await plane.join()


async def used_up(plane: Plane) -> Any:
    for number in (1, 2, 3):
        await plane.join(Identity(kind="node", name=f"edge-{number}"), Key.make())


async def replayed(plane: Plane) -> Any:
    await plane.join()
    plane.clock.wall_ns += DAY_NS // 2
    return await plane.join()


async def name_taken(plane: Plane) -> Any:
    await plane.put(Node(instance_id="i1"), "edge-1")
    return await plane.join()


async def name_joined(plane: Plane) -> Any:
    await plane.join()
    return await plane.join(key=Key.make())


async def revoked(plane: Plane) -> Any:
    issued = await plane.join()
    revocation = Revocation(identity="node/edge-1", reason="stolen")
    revocation.until_time.FromNanoseconds(NOW_NS)
    await plane.put(revocation, "r1")
    while True:  # until the server has heard of it
        await plane.renew(issued.certificate)


async def other_instance(plane: Plane) -> Any:
    await plane.put(Node(instance_id="i2"), "edge-1")
    return await plane.renew(plane.issued(NODE, days=(-9, -2)))


SERVER = Identity(kind="member", name="m1", names=("10.0.0.1",))
ADA = Identity(kind="user", name="ada")
GROUPED = Identity(kind="node", name="edge-1", groups=("admins",))
REFUSED: dict[str, tuple[Callable[[Plane], Awaitable[Any]], str, str]] = {
    "a stolen token without its secret": (stolen, "UNAUTHENTICATED", "not its secret"),
    "a revoked token": (revoked_token, "UNAUTHENTICATED", "was revoked"),
    "an expired token": (expired_token, "FAILED_PRECONDITION", "expired at"),
    "a used-up token": (used_up, "FAILED_PRECONDITION", "used up (2 uses)"),
    "a replayed request": (replayed, "ALREADY_EXISTS", "answered before"),
    "the name of a node that exists": (name_taken, "ALREADY_EXISTS", "exactly this one"),
    "the name of a node that has joined": (name_joined, "ALREADY_EXISTS", "exactly this one"),
    "another name": (lambda p: p.join(Identity(kind="node", name="db-1")), "PERMISSION_DENIED", "but to node/edge-*"),
    "another kind": (lambda p: p.join(SERVER), "PERMISSION_DENIED", "but to node/edge-*"),
    "a user": (lambda p: p.join(ADA), "INVALID_ARGUMENT", "rube cert"),
    "a node as a server": (
        lambda p: p.join(Identity(kind="node", name="edge-1", names=("10.0.0.1",))),
        "INVALID_ARGUMENT",
        "pose as a server",
    ),
    "another domain": (
        lambda p: p.join(Identity(kind="node", name="edge-1", domain="x")),
        "INVALID_ARGUMENT",
        "trust domain",
    ),
    "a weak key": (lambda p: p.join(csr=weak_request(p)), "INVALID_ARGUMENT", "weak"),
    "a changed request": (lambda p: p.join(csr=forged_request(p)), "INVALID_ARGUMENT", "not signed by its own key"),
    "no request": (lambda p: p.join(csr=b"?"), "INVALID_ARGUMENT", "no request"),
    "a certificate of another cluster": (
        lambda p: p.renew(p.issued(NODE, ca=authorities(p.path / "other"), days=(-1, 1))),
        "UNAUTHENTICATED",
        "another cluster",
    ),
    "a stolen certificate without its key": (
        lambda p: p.renew(p.issued(NODE, days=(-1, 1)), csr=make_request(Key.make(), NODE)),
        "UNAUTHENTICATED",
        "not signed by the certificate's key",
    ),
    "a member's certificate for a user's": (
        lambda p: p.renew(p.issued(SERVER, days=(-1, 1)), ADA),
        "PERMISSION_DENIED",
        "spiffe://rube/member/m1",
    ),
    "a user's certificate": (lambda p: p.renew(p.issued(ADA, days=(-1, 1)), ADA), "PERMISSION_DENIED", "rube cert"),
    "a certificate of groups": (lambda p: p.renew(p.issued(GROUPED, days=(-1, 1))), "PERMISSION_DENIED", "admins"),
    "more names": (
        lambda p: p.renew(p.issued(SERVER, days=(-1, 1)), Identity(kind="member", name="m1", names=("10.0.0.2",))),
        "PERMISSION_DENIED",
        "10.0.0.2",
    ),
    "not yet valid": (lambda p: p.renew(p.issued(NODE, days=(1, 8))), "FAILED_PRECONDITION", "not valid yet"),
    "lapsed, of a member": (
        lambda p: p.renew(p.issued(SERVER, days=(-9, -2)), SERVER),
        "FAILED_PRECONDITION",
        "only a node's",
    ),
    "lapsed, of a node that is gone": (
        lambda p: p.renew(p.issued(NODE, days=(-9, -2))),
        "PERMISSION_DENIED",
        "no such Node",
    ),
    "lapsed, of another instance": (other_instance, "PERMISSION_DENIED", "another instance"),
    "lapsed for too long": (lambda p: p.renew(p.issued(NODE, days=(-400, -300))), "FAILED_PRECONDITION", "180"),
    "revoked": (revoked, "PERMISSION_DENIED", "revoked (stolen)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_gets_no_certificate(tmp_path: Path, case: str) -> None:
    ask, code, words = REFUSED[case]

    async def test(plane: Plane) -> None:
        with pytest.raises(RubeError) as raised:
            await ask(plane)
        assert (raised.value.code, words in raised.value.message) == (code, True), raised.value.message

    run(tmp_path, test)
