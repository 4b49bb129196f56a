"""The nodes that hold a call open to this server, and the requests to them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rube.api import LogsRequest, NodeReply, NodeRequest
from rube.api.errors import NotDoneError, ResourceExhaustedError, RubeError, UnavailableError, decode_status
from rube.host import Clock

PARTS_MAX = 2
"""The parts of one answer that are held until its reader takes them; the node's next part waits."""
DEPARTED_MAX = 10_000
"""Nodes that went away are remembered with the time of it, as many as these."""


class Answer:
    """A node's answer to one request: parts that come one after the other, to one reader."""

    def __init__(self, request_id: str) -> None:
        self.id = request_id
        self._parts: deque[NodeReply] = deque()
        self._moved = asyncio.Event()
        self._failure: RubeError | None = None
        self._closed = False

    async def give(self, part: NodeReply) -> bool:
        """Passes one part to the reader, once there is room; False if the reader is gone."""
        while len(self._parts) >= PARTS_MAX and not self._closed and self._failure is None:
            await self._wait()
        if self._closed or self._failure is not None:
            return False
        self._parts.append(part)
        self._wake()
        return True

    async def take(self) -> NodeReply:
        """Returns the next part. Raises the error given to `fail`, after the parts before it."""
        while not self._parts:
            if self._failure is not None:
                raise self._failure
            await self._wait()
        self._wake()
        return self._parts.popleft()

    def fail(self, error: RubeError) -> None:
        """Ends the answer with an error."""
        self._failure = self._failure or error
        self._wake()

    def close(self) -> None:
        """Notes that the reader has gone."""
        self._closed = True
        self._wake()

    async def _wait(self) -> None:
        await self._moved.wait()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


class Attachment:
    """One node's open call. Requests go out in order; `answers_max` bounds those that the node has not fetched."""

    def __init__(self, node: str, instance_id: str, answers_max: int) -> None:
        self.node = node
        self.instance_id = instance_id
        self._answers_max = answers_max
        self._answers: dict[str, Answer] = {}
        self._outgoing: deque[NodeRequest] = deque()
        self._wake = asyncio.Event()
        self._ended: RubeError | None = None

    def ask(self, request: NodeRequest) -> Answer:
        """Sends a request. Raises ResourceExhaustedError if the node answers as many as it may already."""
        if len(self._answers) >= self._answers_max:
            raise ResourceExhaustedError(
                f"node {self.node} answers {self._answers_max} requests for logs already (node_answers_max): end one",
                limit=self._answers_max,
                node=self.node,
            )
        answer = self._answers[request.id] = Answer(request.id)
        self._send(request)
        return answer

    def forget(self, answer: Answer) -> None:
        """Ends an answer without a reader: tells the node, unless it has ended."""
        answer.close()
        if self._answers.pop(answer.id, None) is not None and self._ended is None:
            self._send(NodeRequest(id=answer.id, cancel=NodeRequest.Cancel()))

    async def take(self, reply: NodeReply) -> bool:
        """Takes a part of an answer, when its reader has room; False if the reader is gone."""
        answer = self._answers.get(reply.id)
        if answer is None:
            return False
        if reply.WhichOneof("part") == "end":
            self._answers.pop(reply.id, None)
        return await answer.give(reply)

    async def next(self) -> NodeRequest:
        """Returns the next request to send. Raises the error given to `end`."""
        while not self._outgoing and self._ended is None:
            self._wake.clear()
            await self._wake.wait()
        if self._ended is not None:
            raise self._ended
        return self._outgoing.popleft()

    def end(self, why: RubeError, *, answers: RubeError) -> None:
        """Ends the open call with `why`, and every answer under way with `answers`."""
        self._ended = self._ended or why
        self._wake.set()
        for answer in tuple(self._answers.values()):
            answer.fail(answers)
        self._answers.clear()

    def _send(self, request: NodeRequest) -> None:
        self._outgoing.append(request)
        self._wake.set()


class Attachments:
    """All nodes attached to this server, at most one call a node."""

    def __init__(self, clock: Clock, *, node_answers_max: int, answers_max: int) -> None:
        self._clock = clock
        self._node_answers_max = node_answers_max
        self._answers_max = answers_max
        self._answers = 0
        self._requests = 0
        self._attached: dict[str, Attachment] = {}
        self._departed_ns: OrderedDict[str, int] = OrderedDict()

    def find(self, node: str) -> Attachment | None:
        return self._attached.get(node)

    def departed_ns(self, node: str) -> int:
        """Returns when the node's last call ended, on the wall clock; 0 if not since this server started."""
        return self._departed_ns.get(node, 0)

    def attach(self, node: str, instance_id: str) -> Attachment:
        """Attaches a node. Its newest call counts: an older one ends."""
        attachment = Attachment(node, instance_id, self._node_answers_max)
        older, self._attached[node] = self._attached.get(node), attachment
        if older is not None:
            older.end(UnavailableError(f"a newer call of node {node} takes the place of this one"), answers=_gone(node))
        return attachment

    def detach(self, attachment: Attachment) -> None:
        node = attachment.node
        attachment.end(_gone(node), answers=_gone(node))
        if self._attached.get(node) is attachment:
            del self._attached[node]
            self._departed_ns[node] = self._clock.now_ns()
            self._departed_ns.move_to_end(node)
            while len(self._departed_ns) > DEPARTED_MAX:
                self._departed_ns.popitem(last=False)

    def stop(self) -> None:
        """Ends everything, since the server stops."""
        stopping = NotDoneError("this apiserver is stopping: ask another one, or try again")
        for attachment in tuple(self._attached.values()):
            attachment.end(stopping, answers=stopping)

    @asynccontextmanager
    async def ask_logs(self, attachment: Attachment, request: LogsRequest) -> AsyncIterator[Answer]:
        """Yields the node's answer, for as long as the block runs. Raises ResourceExhaustedError past a limit."""
        if self._answers >= self._answers_max:
            raise ResourceExhaustedError(
                f"this apiserver passes on {self._answers_max} requests for logs already (answers_max): end one, or "
                "ask the rubelet itself with --node-socket",
                limit=self._answers_max,
            )
        self._requests += 1
        answer = attachment.ask(NodeRequest(id=f"{self._requests}", logs=request))
        self._answers += 1
        try:
            yield answer
        finally:
            self._answers -= 1
            attachment.forget(answer)


def ending_of(reply: NodeReply) -> RubeError | None:
    """Returns the error with which an answer's last part ends it; None for a normal end."""
    return decode_status(reply.end) if reply.end else None


def _gone(node: str) -> UnavailableError:
    return UnavailableError(
        f"node {node} went away while it answered: its rubelet was stopped, or the connection to it was lost",
        node=node,
    )
