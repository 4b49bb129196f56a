"""The gRPC service auth.Certificates: gives certificates to machines with a token, and renews them.

Its callers have no certificate yet, or one that has lapsed. So nothing is believed that the request does not prove: a
token by its secret, a key by its signature, an identity by an earlier certificate of this cluster.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from rube.api import (
    CertificateRequest,
    CertificatesServicer,
    IssuedCertificate,
    Node,
    RenewalRequest,
    Token,
    TokenStatus,
    TokenUse,
)
from rube.api.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    RubeError,
    UnauthenticatedError,
)
from rube.api.keys import ObjectKey, is_name
from rube.api.spelling import quoted
from rube.api.times import NS_PER_S
from rube.api.types import pack
from rube.api.types.violation import Violation
from rube.api.unknown_fields import check_known
from rube.api.well_known import NODE_TYPE, TOKEN_TYPE
from rube.host import Clock
from rube.server.certificates_config import CertificatesConfig
from rube.server.entrance.call import Call, call_of
from rube.server.objects import prepare_status
from rube.server.revocations import Revocations
from rube.server.rights.grants import fits
from rube.server.rights.subjects import Context
from rube.server.stored_object import StoredObject, decode_object
from rube.server.writes import Current, Decided, Intent, IntentWriter
from rube.store import Store
from rube.trust.identity import Identity
from rube.trust.ports import BACKDATED_S, DAY_S, Requested, Shown

_LOG = logging.getLogger("rube.security")

OPEN_METHODS: Final = ("/auth.Certificates/Join", "/auth.Certificates/Renew")
"""The methods that need no certificate."""
AGAIN_S_MAX: Final = 600.0
"""A machine that has not heard the answer may ask again with the same key for so long; later it is a replay."""
JOINING_KINDS: Final = ("node", "controller", "member")


class CertificatesService(CertificatesServicer):
    """Errors leave as exceptions: the server's transport turns them into statuses."""

    def __init__(
        self,
        config: CertificatesConfig | None,
        store: Store,
        writer: IntentWriter,
        clock: Clock,
        revocations: Revocations,
    ) -> None:
        """No config: this server has no CA's key."""
        self._config = config
        self._store = store
        self._writer = writer
        self._clock = clock
        self._revocations = revocations

    async def Join(self, request: CertificateRequest, context: Context) -> IssuedCertificate:
        """Gives the first certificate. A use is counted before there is one.

        Raises UnauthenticatedError for a token that does not exist or another secret, FailedPreconditionError for one
        that has expired or is used up, PermissionDeniedError for an identity that it does not give, AlreadyExistsError.
        """
        check_known(request)
        config = self._signing()
        call = call_of(context)
        requested = self._read_request(config, request.csr, call)
        identity = requested.identity
        _check_requested(identity, config.signer.domain)
        if why := self._revocations.refusal_of(identity, self._clock.now_ns()):
            raise PermissionDeniedError(why)
        if not is_name(request.token):
            raise _unknown_token(request.token)
        token_key = ObjectKey(TOKEN_TYPE, "", request.token).to_bytes()
        node_key = ObjectKey(NODE_TYPE, "", identity.name).to_bytes() if identity.kind == "node" else None
        now_ns = self._clock.now_ns()

        def decide(current: Current) -> Decided:
            stored = current[token_key]
            if stored is None:
                raise _unknown_token(request.token)
            exists = node_key is not None and current[node_key] is not None
            changed = used(stored, request, requested, now_ns, node_exists=exists)
            return {} if changed is None else {token_key: changed}

        await call.noting(self._writer).write(Intent([token_key, *([node_key] if node_key else [])], [], None, decide))
        _LOG.info("%s/%s joins by token %s from %s", identity.kind, identity.name, request.token, context.peer())
        return self._issue(config, requested, replace(identity, groups=()))

    async def Renew(self, request: RenewalRequest, context: Context) -> IssuedCertificate:
        """Gives the owner of an earlier certificate's key a further one.

        Raises UnauthenticatedError without that proof, PermissionDeniedError for another identity, a revoked one or one
        that `Join` does not give, FailedPreconditionError for a certificate that lapsed too long ago, or is not a
        node's.
        """
        check_known(request)
        config = self._signing()
        shown = config.signer.read_certificate(request.certificate)
        requested = self._read_request(config, request.csr, call_of(context))
        now_ns = self._clock.now_ns()
        check_renewal(shown, requested, now_ns)
        _check_joined(shown.identity)
        if why := self._revocations.refusal_of(shown.identity, shown.begin_ns + BACKDATED_S * NS_PER_S):
            raise PermissionDeniedError(why)
        if shown.end_ns < now_ns:
            await self._check_lapsed(config, shown, request.instance_id, now_ns)
        return self._issue(config, requested, shown.identity)

    def _signing(self) -> CertificatesConfig:
        if self._config is None:
            raise FailedPreconditionError(
                "this apiserver gives no certificates, since it has no CA's key: ask one that was started with --ca"
            )
        return self._config

    def _read_request(self, config: CertificatesConfig, csr: bytes, call: Call) -> Requested:
        requested = config.signer.read_request(csr)
        call.certified = f"{requested.identity.kind}/{requested.identity.name}"
        return requested

    def _issue(self, config: CertificatesConfig, requested: Requested, identity: Identity) -> IssuedCertificate:
        now_ns = self._clock.now_ns()
        return config.signer.issue(
            requested,
            identity,
            begin_ns=now_ns - BACKDATED_S * NS_PER_S,
            end_ns=now_ns + round(config.days * DAY_S) * NS_PER_S,
        )

    async def _check_lapsed(self, config: CertificatesConfig, shown: Shown, instance_id: str, now_ns: int) -> None:
        """Raises FailedPreconditionError for a lapsed certificate that is not renewed."""
        name = f"{shown.identity.kind}/{shown.identity.name}"
        lapsed_days = (now_ns - shown.end_ns) / NS_PER_S / DAY_S
        if shown.identity.kind != "node":
            raise FailedPreconditionError(
                f"the certificate of {name} lapsed {lapsed_days:.3g} days ago, and only a node's is renewed then: join "
                "again with a token ('rube token create')"
            )
        if lapsed_days > config.lapsed_days_max:
            raise FailedPreconditionError(
                f"the certificate of {name} lapsed {lapsed_days:.3g} days ago, more than {config.lapsed_days_max:g}: "
                "join again with a token ('rube token create')"
            )
        (record,) = (await self._store.get([ObjectKey(NODE_TYPE, "", shown.identity.name).to_bytes()])).records
        node = Node() if record is None else Node.FromString(decode_object(record).spec_value())
        if record is None or not instance_id or node.instance_id != instance_id:
            what = "there is no such Node object" if record is None else "the Node object names another instance"
            raise PermissionDeniedError(
                f"the certificate of {name} has lapsed, and {what}: join again with a token ('rube token create')"
            )


def used(
    stored: StoredObject, request: CertificateRequest, requested: Requested, now_ns: int, *, node_exists: bool
) -> StoredObject | None:
    """Returns the token with one use more; None for the repetition of one. Pure. Raises the errors of `Join`."""
    token, status = Token.FromString(stored.spec_value()), TokenStatus()
    if (packed := stored.status_any()) is not None:
        packed.Unpack(status)
    if not hmac.compare_digest(hashlib.sha256(request.secret.encode()).digest(), token.secret_hash):
        raise _unknown_token(request.token)
    identity = f"{requested.identity.kind}/{requested.identity.name}"
    patterns = [each for each in token.identities if fits(each, identity)]
    if not patterns:
        raise PermissionDeniedError(
            f"token {request.token} gives no certificate to {identity}, but to {', '.join(token.identities)}: take its "
            "name, or make another token"
        )
    for use in status.uses:
        if use.key_hash == requested.key_hash:
            if use.identity == identity and now_ns - use.time.ToNanoseconds() <= AGAIN_S_MAX * NS_PER_S:
                return None
            raise AlreadyExistsError(
                f"this request was answered before, for {use.identity}: renew that certificate, or join with a new key"
            )
    if token.HasField("expire_time") and token.expire_time.ToNanoseconds() <= now_ns:
        raise FailedPreconditionError(
            f"token {request.token} expired at {token.expire_time.ToJsonString()}: make another ('rube token create')"
        )
    if len(status.uses) >= token.uses_max:
        raise FailedPreconditionError(
            f"token {request.token} is used up ({token.uses_max} uses): make another with 'rube token create'"
        )
    if identity not in token.identities and (node_exists or any(use.identity == identity for use in status.uses)):
        raise AlreadyExistsError(
            f"{identity} has joined already: take another name, or a token for exactly this one (rube token create "
            f"--node {requested.identity.name})"
        )
    use = TokenUse(identity=identity, key_hash=requested.key_hash)
    use.time.FromNanoseconds(now_ns)
    status.uses.append(use)
    return prepare_status(stored, pack(status))


def check_renewal(shown: Shown, requested: Requested, now_ns: int) -> None:
    """Raises an error unless the request is of the same key and identity as the certificate, which must have begun."""
    if shown.key_hash != requested.key_hash:
        raise UnauthenticatedError(
            "the request is not signed by the certificate's key, which alone may renew it: join again with a token"
        )
    was, now = shown.identity, requested.identity
    if (was.uri, set(was.names)) != (now.uri, set(now.names)):
        raise PermissionDeniedError(
            f"the certificate is that of {was.uri} at {', '.join(was.names) or 'no address'}, and the request is for "
            f"{now.uri} at {', '.join(now.names) or 'no address'}: a renewal changes neither"
        )
    if now_ns < shown.begin_ns:
        raise FailedPreconditionError("by this server's clock the certificate is not valid yet: set the clock")


def _check_joined(identity: Identity) -> None:
    """Raises PermissionDeniedError for an identity that no token gives: a user, or one with groups."""
    if identity.kind not in JOINING_KINDS or identity.groups:
        what = f"the groups {', '.join(identity.groups)}" if identity.groups else "that kind"
        raise PermissionDeniedError(
            f"the certificate of {identity.kind}/{identity.name} did not come from joining, which gives none of "
            f"{what}: 'rube cert' renews it"
        )


def _check_requested(identity: Identity, domain: str) -> None:
    """Raises InvalidArgumentError for an identity that is not given for a token."""
    if identity.domain != domain:
        raise InvalidArgumentError(
            f"the request is for trust domain {quoted(identity.domain)}, and this cluster's is {domain}", field="csr"
        )
    if identity.kind not in JOINING_KINDS:
        raise InvalidArgumentError(
            f"no {identity.kind} joins with a token: 'rube cert' makes the certificate of one", field="csr"
        )
    if identity.kind == "node":
        if not is_name(identity.name):
            raise InvalidArgumentError(f"{quoted(identity.name)} is no name of a node: take a DNS label", field="csr")
        if identity.names:
            raise InvalidArgumentError("the certificate of a node must not pose as a server's: ask for no host names")
    if identity.kind == "member" and not identity.names:
        raise InvalidArgumentError("a member serves others: ask for the names that they reach it by (--host)")


def _unknown_token(name: str) -> RubeError:
    return UnauthenticatedError(
        f"token {quoted(name)} does not exist, or this is not its secret: it was revoked, or the text is not complete; "
        "make another with 'rube token create'"
    )


def token_violations(spec: bytes) -> Sequence[Violation]:
    """Returns the errors of a serialized auth.Token."""
    return [Violation(field, what) for field, what in _wrong(Token.FromString(spec))]


def _wrong(token: Token) -> Iterator[tuple[str, str]]:
    if len(token.secret_hash) != hashlib.sha256().digest_size:
        yield "secret_hash", "is no SHA-256: 'rube token create' makes tokens"
    if not token.identities:
        yield "identities", "are none: name some, such as node/edge-*"
    for index, identity in enumerate(token.identities):
        kind, slash, name = identity.partition("/")
        if not slash or kind not in JOINING_KINDS or not name:
            yield f"identities[{index}]", f"is {quoted(identity)}: write node/NAME, controller/NAME or member/NAME"
    if not 1 <= token.uses_max <= 1000:
        yield "uses_max", f"is {token.uses_max}: take 1 to 1000"
