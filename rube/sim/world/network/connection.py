"""Connections as TCP has them: two ends, a pipe for each direction, keepalive, reset, orderly close."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from rube.api.times import NS_PER_S
from rube.sim.world.kernel import Death, SimHost, SimProcess, World
from rube.sim.world.kernel.hostclock import seconds_to_ns
from rube.sim.world.kernel.process import DEAD, RUNNING
from rube.sim.world.kernel.trace import fingerprint
from rube.sim.world.network.frames import Frame, FrameKind
from rube.sim.world.network.links import Route


def monotonic_ns(process: SimProcess) -> int:
    """Returns the reading of a process's host's clock now, for any caller."""
    return process.clock.monotonic_ns(process.loop.now_ns)


class Narrator(Protocol):
    """Says in words what is sent, for the trace's readers. It draws no randomness and changes nothing."""

    def sent(self, source: str, target: str, number: int, frame: Frame) -> str:
        """A frame goes from one host to another on the connection of that number."""
        ...


class FrameReceiver(Protocol):
    """The HTTP/2 side of one end of a connection."""

    def received(self, frame: Frame) -> None:
        """A frame has arrived, in order."""
        ...

    def lost(self, reason: str) -> None:
        """The connection is gone; called once at most, and not after the end closed it itself."""
        ...


class Pipe:
    """One direction of a connection: frames arrive in order or not at all."""

    def __init__(
        self, world: World, route: Route, number: int, source: SimHost, target: SimHost, narrator: Narrator | None
    ) -> None:
        self._loop = world.loop
        self._narrator = narrator
        self._trace = world.trace
        self._route = route
        self._number = number
        self._source = source
        self._target = target
        self._last_arrival_ns = 0
        self._epoch = 0
        """Grows when what is under way is lost: arrivals of earlier epochs don't happen."""
        self._unacknowledged: deque[tuple[Frame, bytes]] = deque()
        """The frames that were sent and have not arrived, in order: TCP's send buffer."""
        self._stalled = False
        """True if something of it was lost to a blocked route, and nothing after it can be delivered."""
        self.receiver: End | None = None
        route.attach(self)

    def send(self, frame: Frame) -> None:
        """Puts a frame on the wire; it is kept while the route is blocked."""
        if self.receiver is None:
            return
        encoded = frame.encode()
        self._unacknowledged.append((frame, encoded))
        if self._narrator is not None:
            self._note(self._narrator, frame, encoded)
        if self._stalled or self._route.blocked:
            self._stalled = True
        else:
            self._transmit(len(encoded), 0)

    @property
    def moving(self) -> bool:
        """True while bytes are under way that will arrive: a large message takes its time."""
        return not self._route.blocked and self._last_arrival_ns > self._loop.now_ns

    def drop(self) -> None:
        """Loses everything that is under way or kept."""
        self._epoch += 1
        self._unacknowledged.clear()
        self._stalled = False

    def close(self) -> None:
        """Deliver nothing more."""
        self.drop()
        self.receiver = None
        self._route.detach(self)

    def resume(self) -> None:
        """Sends the unacknowledged bytes again, in order, since the route is open again."""
        if self._stalled:
            self._stalled = False
            self._epoch += 1
            pause_ns = self._route.retransmit_ns()
            for _, encoded in self._unacknowledged:
                self._transmit(len(encoded), pause_ns)

    def _note(self, narrator: Narrator, frame: Frame, encoded: bytes) -> None:
        source, target = self._source.name, self._target.name
        told = narrator.sent(source, target, self._number, frame)
        self._trace.note("send", source, target, self._number, frame.kind.value, fingerprint(encoded), told)

    def _transmit(self, size_bytes: int, pause_ns: int) -> None:
        now_ns = self._loop.now_ns
        arrival_ns = now_ns + pause_ns + self._route.delay_ns(now_ns, size_bytes)
        self._last_arrival_ns = arrival_ns = max(arrival_ns, self._last_arrival_ns)
        self._loop.after_ns(arrival_ns - now_ns, self._arrive, self._epoch)

    def _arrive(self, epoch: int) -> None:
        """The oldest frame under way is there, unless the route has lost it."""
        receiver = self.receiver
        if epoch != self._epoch or receiver is None:
            return
        if self._stalled or self._route.blocked:
            self._stalled = True
            return
        frame, encoded = self._unacknowledged.popleft()
        if not self._target.powered:
            if frame.kind in (FrameKind.CLOSE, FrameKind.RESET):
                self.close()
            return
        self._trace.add(
            "deliver", self._source.name, self._target.name, self._number, frame.kind._value_, fingerprint(encoded)
        )
        receiver.arrived(frame)


class End:
    """One end of a connection: a process's socket.

    It answers pings, sends its own when it has heard nothing for `keepalive_s` of its host's clock, and gives the
    connection up when nothing comes within `keepalive_timeout_s` of that.
    """

    def __init__(
        self,
        process: SimProcess,
        incoming: Pipe,
        outgoing: Pipe,
        keepalive_s: float,
        keepalive_timeout_s: float,
        closed: Callable[[End], None],
    ) -> None:
        """`closed` is called once, when the end is closed before its process dies."""
        self.process = process
        self._closed = closed
        self.peer: FrameReceiver | None = None
        self.open = True
        self._incoming = incoming
        self._outgoing = outgoing
        self._keepalive_ns = seconds_to_ns(keepalive_s)
        self._timeout_ns = seconds_to_ns(keepalive_timeout_s)
        self._heard_ns = self.process.loop.now_ns
        self._timer = process.loop.call_later(keepalive_s, self._check_idle, context=process.context)
        incoming.receiver = self

    def send(self, frame: Frame) -> None:
        """Sends a frame; nothing happens on a closed end."""
        if self.open:
            self._outgoing.send(frame)

    def close(self) -> None:
        """Closes in order: bytes sent before still arrive."""
        if self.open:
            self._outgoing.send(Frame(FrameKind.CLOSE))
            self._shut()

    def reset(self) -> None:
        """Breaks the connection at once: bytes under way in both directions are lost."""
        if self.open:
            self._outgoing.drop()
            self._outgoing.send(Frame(FrameKind.RESET))
            self._shut()

    def process_died(self, death: Death) -> None:
        """Closes a dead process's socket as the operating system does."""
        if death is Death.EXIT:
            self.close()
        elif death is Death.KILL:
            self.reset()
        else:
            self.open = False  # the process is gone

    def arrived(self, frame: Frame) -> None:
        """A frame has reached the host; for Pipe."""
        gate = self.process.gate
        if gate == RUNNING:
            self._handle(frame)
        elif gate == DEAD:  # the host was off and is back: it knows no such connection
            self._outgoing.drop()
            self._outgoing.send(Frame(FrameKind.RESET))
            self._incoming.close()
        else:
            self.process.call_soon(self._handle, frame)

    def _handle(self, frame: Frame) -> None:
        if not self.open:
            return
        self._heard_ns = self.process.loop.now_ns
        kind = frame.kind
        if kind is FrameKind.DATA:  # first: most are
            if self.peer is not None:
                self.peer.received(frame)
        elif kind is FrameKind.PING:
            self.send(Frame(FrameKind.PONG))
        elif kind is FrameKind.CLOSE:
            self._lose("Socket closed")
        elif kind is FrameKind.RESET:
            self._lose("Connection reset by peer")
        elif kind is not FrameKind.PONG and self.peer is not None:
            self.peer.received(frame)

    def _lose(self, reason: str) -> None:
        self._shut()
        self._outgoing.close()
        if self.peer is not None:
            self.peer.lost(reason)

    def _shut(self) -> None:
        self.open = False
        self._incoming.close()
        self._timer.cancel()
        self._closed(self)

    def _check_idle(self) -> None:
        """Ping if nothing was heard for the keepalive time, or look again when that can be so."""
        self._hear_moving()
        heard_ns = self.process.clock.monotonic_ns(self._heard_ns)
        rest_ns = heard_ns + self._keepalive_ns - monotonic_ns(self.process)
        if rest_ns > 0:
            self._later(rest_ns, self._check_idle)
        else:
            self.send(Frame(FrameKind.PING))
            self._later(self._timeout_ns, self._check_answer, self.process.loop.now_ns)

    def _check_answer(self, pinged_ns: int) -> None:
        """Gives up if nothing was heard since the ping."""
        self._hear_moving()
        if self._heard_ns >= pinged_ns:
            self._check_idle()
            return
        self._outgoing.send(Frame(FrameKind.RESET))
        self._shut()
        if self.peer is not None:
            self.peer.lost(f"keepalive: no answer within {self._timeout_ns / NS_PER_S} s")

    def _hear_moving(self) -> None:
        """Segments of a large message, or their acknowledgements, are as good as an answer."""
        if self._incoming.moving or self._outgoing.moving:
            self._heard_ns = self.process.loop.now_ns

    def _later(self, delay_ns: int, check: Callable[..., None], *args: int) -> None:
        delay_s = delay_ns / NS_PER_S
        self._timer = self.process.loop.call_later(delay_s, check, *args, context=self.process.context)
