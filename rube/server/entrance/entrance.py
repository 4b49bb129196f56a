"""The entrance of a server: wraps the methods of its services."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, TypeVar, cast

from rube.api.errors import PermissionDeniedError
from rube.server.audit.recording import Recorder
from rube.server.entrance.call import Call
from rube.server.entrance.fairness import Fairness
from rube.server.entrance.kinds import MANNERS
from rube.server.rights.subjects import Context, Identified

Servicer = TypeVar("Servicer")


class Entrance:
    """The way of every call: its caller is known, it has its turn, and how it ended is written down."""

    def __init__(
        self, identify: Callable[[Context], Identified], fairness: Fairness, recorder: Recorder | None
    ) -> None:
        """No recorder: no audit log."""
        self._identify = identify
        self._fairness = fairness
        self._recorder = recorder

    def wrap(self, servicer: Servicer) -> Servicer:
        """Returns the servicer with its methods behind this entrance. They get a Call as their context."""
        return cast(Servicer, _Wrapped(self, servicer))

    def method(self, behavior: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a servicer's method, wrapped."""
        return self._unary(behavior) if inspect.iscoroutinefunction(behavior) else self._stream(behavior)

    def _unary(self, behavior: Callable[..., Any]) -> Callable[..., Any]:
        fairness, recorder, identify = self._fairness, self._recorder, self._identify

        async def call(request: Any, context: Context) -> Any:
            this = Call(MANNERS[type(request)], request, context, identify, noted=recorder is not None)
            try:
                turn = await fairness.begin(this)
                try:
                    if recorder is not None:
                        recorder.admit(this)
                    response = await behavior(request, this)
                finally:
                    turn.end()
            except BaseException as error:
                if recorder is not None:
                    recorder.ended(this, error)
                raise
            if recorder is not None:
                recorder.ended(this, None)
            return response

        return call

    def _stream(self, behavior: Callable[..., Any]) -> Callable[..., Any]:
        fairness, recorder, identify = self._fairness, self._recorder, self._identify

        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            this = Call(MANNERS[type(request)], request, context, identify, noted=recorder is not None)
            begun = False
            try:
                async with fairness.stream(this) as turn:
                    if recorder is not None:
                        recorder.admit(this)
                    async with aclosing(behavior(request, this)) as responses:
                        async for response in responses:
                            if not begun:
                                begun = True
                                turn.end()
                                if recorder is not None:
                                    recorder.ended(this, None)
                            yield response
            except BaseException as error:
                # The end of a stream that has begun is written where it is a refusal: the caller's rights have changed.
                if recorder is not None and (not begun or isinstance(error, PermissionDeniedError)):
                    recorder.ended(this, error)
                raise
            if recorder is not None and not begun:
                recorder.ended(this, None)

        return call


class _Wrapped:
    """A servicer behind an entrance: generated code takes the methods, and nothing else."""

    def __init__(self, entrance: Entrance, servicer: Any) -> None:
        self._entrance = entrance
        self._servicer = servicer

    def __getattr__(self, name: str) -> Any:
        return self._entrance.method(getattr(self._servicer, name))
