"""The client without an event loop, where one of several servers gives no answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from rube.api import GetRequest, Object, PutRequest
from rube.api.errors import DeadlineExceededError, RubeError, UnavailableError
from rube.client import blocking
from rube.client.blocking import BlockingClient
from tests.unit.transport.test_http2 import DATA, END, HEADERS, Peer, frame

T = TypeVar("T")
_EMPTY = b"\0\0\0\0\0"
_BEGIN = b"\x88\x5f\x10application/grpc"  # :status 200, content-type


def answer(coroutine: Coroutine[Any, Any, T]) -> T:
    """Returns what a call returns, which never waits."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return cast(T, ended.value)
    raise AssertionError("it waits")


@contextmanager
def server(path: Path, *, greets: bool, answers: bool) -> Iterator[str]:
    """A server that takes connections, and does with them what is said."""
    done = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError, AssertionError, IndexError):
            if greets:
                peer = Peer(connection)
                peer.greet()
                while answers:
                    stream = next(found[2] for found in iter(peer.frame, None) if found[0] == DATA and found[1] & 1)
                    peer.send(frame(HEADERS, 4, stream, _BEGIN) + frame(DATA, 0, stream, _EMPTY))
                    peer.send(frame(HEADERS, 5, stream, END))
            done.wait(20)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=accept, daemon=True).start()
        yield f"unix:{path}"
        done.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "CONNECT_S_MAX", 0.3)


def test_the_next_server_is_asked_after_one_that_says_nothing(tmp_path: Path) -> None:
    with (
        server(tmp_path / "silent", greets=False, answers=False) as silent,
        server(tmp_path / "living", greets=True, answers=True) as living,
        BlockingClient([silent, living], 10.0) as client,
    ):
        began_s = time.monotonic()
        answer(client.put(PutRequest(objects=[Object()])))  # no connection, so nothing was sent
        assert time.monotonic() - began_s < 8
        answer(client.get(GetRequest()))


def test_a_read_is_asked_of_the_next_server_after_one_that_hangs(tmp_path: Path) -> None:
    with (
        server(tmp_path / "hangs", greets=True, answers=False) as hangs,
        server(tmp_path / "living", greets=True, answers=True) as living,
        BlockingClient([hangs, living], 4.0) as client,
    ):
        answer(client.get(GetRequest()))


def test_a_write_without_a_condition_is_not_repeated_after_a_server_that_hangs(tmp_path: Path) -> None:
    with (
        server(tmp_path / "hangs", greets=True, answers=False) as hangs,
        server(tmp_path / "living", greets=True, answers=True) as living,
        BlockingClient([hangs, living], 1.0) as client,
    ):
        began_s = time.monotonic()
        with pytest.raises((DeadlineExceededError, UnavailableError)):
            answer(client.put(PutRequest(objects=[Object()])))
        assert time.monotonic() - began_s >= 1.0, "it had all the time"


def test_the_time_is_bounded_where_all_servers_are_silent(tmp_path: Path) -> None:
    with (
        server(tmp_path / "a", greets=False, answers=False) as first,
        server(tmp_path / "b", greets=False, answers=False) as second,
        BlockingClient([first, second], 1.0) as client,
    ):
        began_s = time.monotonic()
        with pytest.raises(RubeError):
            answer(client.get(GetRequest()))
        assert time.monotonic() - began_s < 10
