"""A client that watches, so that the judges see the events that it receives."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from grpc import aio

from rube.api import ApiAsyncStub, ApiStub, WatchRequest, WatchResponse
from rube.api.errors import CompactedError, RevisionAheadError, RubeError, StoreChangedError
from rube.host import Host
from rube.transport import rube_error

RETRY_S = 0.5


@dataclass(slots=True)
class WatchObserver:
    """Watches the objects that match: lists and follows, resumes where it was, lists again only if it must.

    It uses the generated stub and nothing else of the client's code, so that the judges see the wire.
    """

    name: str
    host: Host
    targets: Sequence[str]
    """The apiservers; after a failure it goes on at the next."""
    wanted: WatchRequest
    """The filter of the watch; the rest of the request is this observer's."""
    _revision: int = 0
    _store_id: str = ""
    _initial: bool = field(default=True)

    async def run(self) -> None:
        """Watches until cancelled."""
        channels = [self.host.network.channel(target) for target in self.targets]
        stubs: list[ApiAsyncStub] = [ApiStub(channel) for channel in channels]
        self._start_anew()
        try:
            for turn in itertools.count():
                try:
                    await self._follow(stubs[turn % len(stubs)])
                except CompactedError:
                    self._initial = True  # what there is now, not older than what it knows
                except (StoreChangedError, RevisionAheadError):
                    self._start_anew()
                except RubeError:
                    pass
                await self.host.clock.sleep(RETRY_S)
        finally:
            for channel in channels:
                await channel.close(None)

    def _start_anew(self) -> None:
        self._initial, self._revision, self._store_id = True, 0, ""

    async def _follow(self, stub: ApiAsyncStub) -> None:
        request = WatchRequest(send_initial=self._initial)
        request.MergeFrom(self.wanted)
        if self._revision:
            request.after_revision, request.store_id = self._revision, self._store_id
        try:
            async for response in stub.Watch(request):
                self._note(response)
        except aio.AioRpcError as error:
            raise rube_error(error) from error

    def _note(self, response: WatchResponse) -> None:
        for event in response.events:
            if event.bookmark.initial_end:
                self._initial = False
        self._revision = max(self._revision, response.revision)
        self._store_id = response.store_id
