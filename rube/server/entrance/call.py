"""A call: its caller, its request, and what is noted of it while it is carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from rube.api.errors import RubeError
from rube.api.keys import ObjectKey
from rube.server.entrance.kinds import CallKind, Manner
from rube.server.rights.grants import Grant
from rube.server.rights.subjects import ANONYMOUS, Context, Identified, Subject
from rube.transport import peer

if TYPE_CHECKING:
    from rube.server.writes import Intent, IntentWriter, Outcome

OUTCOME_S_MAX: Final = 10.0
"""The outcome of a write whose caller is gone is waited for so long: the audit log tells of it."""
_SYSTEM: Final = ("node", "controller", "member")


class Call:
    """Stands for the servicer context of a call, and has its caller."""

    __slots__ = (
        "_context",
        "_identify",
        "_identity",
        "certified",
        "failure",
        "is_noted",
        "manner",
        "outcome",
        "repeated_times",
        "request",
        "rules",
    )

    def __init__(
        self,
        manner: Manner,
        request: Message,
        context: Context,
        identify: Callable[[Context], Identified],
        *,
        noted: bool = False,
    ) -> None:
        """`noted`: there is an audit log."""
        self.is_noted = noted and manner.is_audited
        self.manner = manner
        self.request = request
        self.outcome: Outcome | None = None
        """The outcome of a write."""
        self.failure: RubeError | None = None
        """The error of a write that was still under way when its caller left."""
        self.rules: dict[str, None] = {}
        """The rules that allow it, or may. A dict for its order."""
        self.certified = ""
        """The identity that a certificate is asked for."""
        self.repeated_times = 0
        """Calls alike that have no line of their own."""
        self._context = context
        self._identify = identify
        self._identity: Identified | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    @property
    def identity(self) -> Identified:
        """The caller, and its connection. Raises UnauthenticatedError for a proof that is no good."""
        if self._identity is None:
            try:
                self._identity = self._identify(self._context)
            except RubeError:
                address = peer(self._context).address
                self._identity = Identified(Subject(ANONYMOUS, method="none"), address)  # for the audit log alone
                raise
        return self._identity

    @property
    def verb(self) -> str:
        return self.manner.verb

    @property
    def kind(self) -> CallKind:
        kind = self.manner.kind
        return CallKind.UPKEEP if kind is CallKind.WRITES and self.identity.subject.kind in _SYSTEM else kind

    @property
    def is_audited(self) -> bool:
        return self.manner.is_audited

    def keys(self) -> list[ObjectKey]:
        """Returns the keys of the objects that it is for, as the caller wrote them."""
        return list(self.manner.keys_of(self.request))

    def note_grant(self, grant: Grant | None) -> None:
        if grant is not None:
            self.rules[grant.source] = None

    def noting(self, writer: IntentWriter) -> IntentWriter:
        """Returns a writer that notes what it has written."""
        return _NotingWriter(writer, self)


def call_of(context: Context) -> Call:
    """Returns the call that the entrance has made of a context."""
    assert isinstance(context, Call), "every method is behind the entrance"
    return context


class _NotingWriter:
    __slots__ = ("_call", "_writer")

    def __init__(self, writer: IntentWriter, call: Call) -> None:
        self._writer = writer
        self._call = call

    async def write(self, intent: Intent) -> Outcome:
        """Carries out the intent; a caller that leaves does not stop it, and is cancelled once the outcome is noted."""
        call, writing = self._call, asyncio.ensure_future(self._writer.write(intent))
        try:
            outcome = call.outcome = await asyncio.shield(writing)
        except asyncio.CancelledError:
            await _ended(writing)
            if writing.cancelled():
                call.failure = RubeError("the server stopped before the outcome was known")
            elif (error := writing.exception()) is None:
                call.outcome = writing.result()
            elif isinstance(error, RubeError):
                call.failure = error
            raise
        return outcome


async def _ended(writing: asyncio.Future[Outcome]) -> None:
    """Waits until a write has ended, however often it is cancelled meanwhile; stops a write that takes too long."""
    now_s = asyncio.get_running_loop().time
    until_s = now_s() + OUTCOME_S_MAX
    while not writing.done() and (left_s := until_s - now_s()) > 0:
        try:
            await asyncio.wait((writing,), timeout=left_s)
        except asyncio.CancelledError:
            continue
    if not writing.done():
        writing.cancel()
        await asyncio.wait((writing,))
