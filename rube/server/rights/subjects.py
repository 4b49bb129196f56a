"""The identity of a caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from grpc import aio

from rube.api import Subject as SubjectMessage
from rube.api.addresses import is_loopback, split_host_port
from rube.api.errors import InvalidArgumentError
from rube.api.spelling import quoted, suggestion
from rube.api.well_known import ADMINS
from rube.transport import Peer, peer
from rube.transport.peers import CONNECTIONS_MAX

Context = aio.ServicerContext[Any, Any]

READERS: Final = "readers"
"""The group whose members have the role `read-only`."""
ANONYMOUS: Final = "anonymous"
KINDS: Final = ("user", "node", "controller", "member")


class Subject(NamedTuple):
    """A caller: `kind` is one of KINDS, or `anonymous` without a name."""

    kind: str
    name: str = ""
    groups: tuple[str, ...] = ()
    method: str = ""
    """The proof of it: `certificate`, or the kind of connection."""

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}" if self.name else self.kind

    def to_proto(self) -> SubjectMessage:
        kind = SubjectMessage.Kind.Value(self.kind.upper())
        return SubjectMessage(kind=kind, name=self.name, groups=self.groups, method=self.method)

    @classmethod
    def parse(cls, text: str, groups: tuple[str, ...] = ()) -> Subject:
        """Reverses `str`. Raises InvalidArgumentError."""
        if text == ANONYMOUS:
            return cls(ANONYMOUS, groups=groups)
        kind, slash, name = text.partition("/")
        if not slash or kind not in KINDS or not name:
            near = suggestion(kind, KINDS)
            raise InvalidArgumentError(
                f"{quoted(text)} is no caller: write {ANONYMOUS}, or user/NAME, node/NAME or controller/NAME; {near}",
                field="subject",
            )
        return cls(kind, name, groups)


class Identified(NamedTuple):
    """A caller, and the connection that it is known by."""

    subject: Subject
    address: str
    fingerprint: str = ""
    """The certificate's, or the id of a token."""

    @property
    def host(self) -> str:
        """The host that it calls from."""
        return self.address.rpartition(":")[0] or "unix"


Identify = Callable[[Context], Subject]
"""Returns the identity that a call's connection proves; `anonymous` if it proves none."""


class PlainAccess(Enum):
    """The access of callers that show no certificate."""

    ADMIN = "admin"
    READ_ONLY = "read-only"
    DENY = "deny"
    """Nothing but the rights that bindings give to `anonymous`."""


_PLAIN: Final = {
    PlainAccess.ADMIN: (ADMINS,),
    PlainAccess.READ_ONLY: (READERS,),
}


@lru_cache(maxsize=CONNECTIONS_MAX)
def identify(found: Peer, local: PlainAccess, domain: str = "") -> Subject:
    """Returns the subject of a connection: that of its certificate. Without a certificate it is `user/local` if
    it comes from this machine, with the groups of `local`, and `anonymous` otherwise; a certificate that names none,
    or one of another trust domain than `domain` (empty: any), is `anonymous`, too."""
    if found.fingerprint:
        if domain and found.domain != domain:
            return Subject(ANONYMOUS, method="certificate")
        return _certified(found.kind, found.name, found.groups)
    if local is PlainAccess.DENY or not is_local(found.address):
        return Subject(ANONYMOUS, method="none")
    return Subject("user", "local", _PLAIN[local], "unix" if found.address.startswith("unix:") else "loopback")


def _certified(kind: str, name: str, groups: tuple[str, ...]) -> Subject:
    if kind not in KINDS or not name:
        return Subject(ANONYMOUS, method="certificate")
    return Subject(kind, name, groups, "certificate")


def is_local(address: str) -> bool:
    """Returns whether the address of a peer is a Unix socket's or of loopback."""
    if address.startswith("unix:"):
        return True
    try:
        return is_loopback(split_host_port(address.replace("%5B", "[").replace("%5D", "]"))[0])
    except InvalidArgumentError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class RightsConfig:
    """Turns rights on. `local` is the access of callers from this machine without a certificate."""

    local: PlainAccess = PlainAccess.ADMIN
    domain: str = ""
    """The trust domain of callers with a certificate; empty: any that the CA certifies."""
    identify: Identify | None = None
    """None: `identify`."""

    def identified(self, context: Context) -> Identified:
        """Returns the caller of a call."""
        found = peer(context)
        subject = identify(found, self.local, self.domain) if self.identify is None else self.identify(context)
        return Identified(subject, found.address, found.fingerprint)
