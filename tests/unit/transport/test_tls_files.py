"""TLS files while they are renewed, and servers that are away meanwhile."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h2corn._lib
import pytest

from rube.api.errors import InvalidArgumentError, NotSentError
from rube.host import RealClock, ServerOptions
from rube.transport import GrpcNetwork, connect
from rube.transport.h2 import server as h2_server
from rube.transport.h2.listening import bind
from rube.transport.h2.server import H2Server
from rube.transport.h2.serving import Serving, serve
from rube.trust import Key
from rube.trust.keys import write_file
from tests.conformance.transport.transport_identities import RealIdentities, client_tls, server_tls

AWAY = "127.0.0.1:1"
WAIT_S = 20.0


@pytest.mark.parametrize("half", [False, True], ids=["whole", "half renewed"])
def test_a_server_that_is_away_is_tried_again(tmp_path: Path, half: bool) -> None:
    tls = client_tls(RealIdentities(tmp_path))

    async def body() -> NotSentError:
        async with GrpcNetwork().channel(AWAY, tls=tls) as channel:
            if half:
                write_file(Path(tls.key), Key.make().pem(), 0o600)
            with pytest.raises(NotSentError) as raised:
                await connect(channel, AWAY, RealClock(), WAIT_S)
            return raised.value

    error = asyncio.run(body())
    assert ("the key is not the certificate's" if half else "Connection refused") in error.message
    assert ("tls" in error.metadata) == half, "a fault of TLS has other remedies"


def quiet() -> Serving:
    """Returns a run of h2corn that goes on until the test ends."""
    loop = asyncio.get_running_loop()
    return Serving(asyncio.create_task(asyncio.Event().wait()), loop.create_future())  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), InvalidArgumentError("half")])
def test_a_reload_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception) -> None:
    identities = RealIdentities(tmp_path)
    tls = server_tls(identities)
    tries = 0

    async def begin(*given: Any) -> Serving:
        nonlocal tries
        tries += 1
        if tries > 1:
            return quiet()
        if isinstance(error, InvalidArgumentError):
            server_tls(identities)  # the other half
        raise error

    monkeypatch.setattr(h2_server, "serve", begin)
    monkeypatch.setattr(h2_server, "RELOAD_S", 0.001)

    async def body() -> None:
        first = quiet()
        server = H2Server(ServerOptions())
        keeping = asyncio.create_task(server._keep_serving([], tls, first, ()))
        both: list[asyncio.Future[Any]] = [first._trigger, keeping]
        done, _ = await asyncio.wait(both, timeout=WAIT_S, return_when="FIRST_COMPLETED")
        assert done == {first._trigger}, "the next one has taken over"
        keeping.cancel()

    asyncio.run(body())


def test_a_serving_that_nobody_waits_for_any_more_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        triggers: list[asyncio.Future[str]] = []
        begun = asyncio.Event()

        def serve_fds(app: Any, fds: Sequence[int], config: Any, trigger: Any, *rest: Any, **more: Any) -> Any:
            triggers.append(trigger)
            begun.set()
            return asyncio.get_running_loop().create_future()

        monkeypatch.setattr(h2corn._lib, "serve_fds", serve_fds)
        place = bind("127.0.0.1:0", ServerOptions())
        beginning = asyncio.create_task(serve(lambda *_: asyncio.sleep(0), [place], ServerOptions(), None))
        await asyncio.wait_for(begun.wait(), WAIT_S)
        beginning.cancel()
        await asyncio.gather(beginning, return_exceptions=True)
        place.close()
        assert triggers[0].done()

    asyncio.run(body())
