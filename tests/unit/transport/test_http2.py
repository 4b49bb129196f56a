"""HTTP/2 and HPACK of the blocking client, against a peer that says what the test says."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rube.api.errors import NotDoneError, NotSentError, UnavailableError
from rube.transport import hpack
from rube.transport.unary import UnaryConnection

DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
WAIT_S_MAX = 20.0
Frame = tuple[int, int, int, bytes]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ANSWER = b"\x00\x00\x00\x00\x02ok"
BEGIN = hpack.encode([(":status", "200"), ("content-type", "application/grpc")])
END = hpack.encode([("grpc-status", "0")])


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">BHBBL", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


ANSWERED = frame(HEADERS, 4, 1, BEGIN) + frame(DATA, 0, 1, ANSWER) + frame(HEADERS, 5, 1, END)


class Peer:
    """A server's side of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(WAIT_S_MAX)
        self.send = connection.sendall
        self._stream = connection.makefile("rb")
        assert self._stream.read(len(PREFACE)) == PREFACE

    def frame(self) -> Frame:
        head = self._stream.read(9)
        size, kind, flags, stream = int.from_bytes(head[:3]), head[3], head[4], int.from_bytes(head[5:])
        return kind, flags, stream, self._stream.read(size)

    def until(self, kind: int, flags: int = 0) -> bytes:
        """The payload of the next frame of that kind with those flags; others are passed over."""
        while True:
            found = self.frame()
            if found[0] == kind and found[1] & flags == flags:
                return found[3]

    def greet(self, settings: bytes = b"") -> None:
        self.send(frame(SETTINGS, 0, 0, settings))
        self.until(SETTINGS, 1)


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., bytes]:
    """The answer to a call that the given function serves."""

    def run(serve: Callable[[Peer], None], request: bytes = b"x") -> bytes:
        errors: list[BaseException] = []

        def served() -> None:
            with listener.accept()[0] as connection:
                try:
                    serve(Peer(connection))
                except BaseException as error:
                    errors.append(error)

        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            thread = threading.Thread(target=served)
            thread.start()
            end_s = time.monotonic() + WAIT_S_MAX
            try:
                connection = UnaryConnection(f"unix:{tmp_path}/s", end_s)
                try:
                    return connection.call("/a.B/C", request, end_s)
                finally:
                    connection.close()
            finally:
                thread.join()
                (tmp_path / "s").unlink()
                assert not errors, errors

    return run


def test_frames_between_those_of_the_answer_are_served(call: Callable[..., bytes]) -> None:
    def serve(peer: Peer) -> None:
        peer.greet()
        peer.until(DATA, 1)
        peer.send(frame(PING, 0, 0, b"12345678") + frame(0xBE, 0, 0, b"unknown") + frame(DATA, 0, 7, b"another's"))
        assert peer.until(PING, 1) == b"12345678"
        padded = frame(DATA, 8, 1, b"\x03" + ANSWER + b"\0\0\0")
        split = frame(HEADERS, 0x28, 1, b"\x00" + b"\0\0\0\0\x10" + BEGIN[:7]) + frame(CONTINUATION, 4, 1, BEGIN[7:])
        peer.send(split + padded + frame(HEADERS, 5, 1, END))

    assert call(serve) == b"ok"


def test_no_more_is_sent_than_the_server_has_room_for(call: Callable[..., bytes]) -> None:
    def serve(peer: Peer) -> None:
        peer.greet(struct.pack(">HL", 4, 10) + struct.pack(">HL", 5, 20_000))
        peer.until(HEADERS)
        got = peer.until(DATA)
        assert len(got) == 10
        peer.send(frame(SETTINGS, 0, 0, struct.pack(">HL", 4, 25)))
        got += peer.until(DATA)
        assert len(got) == 25
        peer.send(frame(WINDOW_UPDATE, 0, 1, struct.pack(">L", 200_000)))
        while len(got) < 65_535:
            got += peer.until(DATA)
        assert len(got) == 65_535  # the connection's own window
        peer.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">L", 200_000)))
        while len(got) < 100_005:
            got += peer.until(DATA)
        peer.send(ANSWERED)

    assert call(serve, bytes(100_000)) == b"ok"


@pytest.mark.parametrize(
    "refusal", [frame(GOAWAY, 0, 0, struct.pack(">LL", 0, 0)), frame(RST, 0, 1, struct.pack(">L", 7))]
)
def test_what_the_server_did_not_begin_was_not_done(call: Callable[..., bytes], refusal: bytes) -> None:
    def serve(peer: Peer) -> None:
        peer.greet()
        peer.until(DATA, 1)
        peer.send(refusal)

    with pytest.raises(NotDoneError, match="takes no more calls"):
        call(serve)


def test_a_server_that_stops_still_answers_what_it_has_begun(call: Callable[..., bytes]) -> None:
    def serve(peer: Peer) -> None:
        peer.greet()
        peer.until(DATA, 1)
        peer.send(frame(GOAWAY, 0, 0, struct.pack(">LL", 1, 0)) + ANSWERED)

    assert call(serve) == b"ok"


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        ANSWERED[:20],
        frame(RST, 0, 1, struct.pack(">L", 2)),
        frame(HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff"),
        frame(HEADERS, 4, 1, b"\xbe"),
        frame(DATA, 8, 1, b"\xff"),
        frame(HEADERS, 0, 1, b"\0" * 16_000) + frame(CONTINUATION, 0, 1, b"\0" * 16_000) * 4,
        b"\xff" * 40,
        frame(HEADERS, 4, 1, BEGIN) + frame(HEADERS, 5, 1, END),
        frame(HEADERS, 4, 1, BEGIN) + frame(DATA, 0, 1, b"\x01" + ANSWER[1:]) + frame(HEADERS, 5, 1, END),
        frame(HEADERS, 5, 1, hpack.encode([(":status", "503")])),
    ],
)
def test_an_answer_that_breaks_off_or_makes_no_sense_is_unavailable(call: Callable[..., bytes], broken: bytes) -> None:
    def serve(peer: Peer) -> None:
        peer.greet()
        peer.until(DATA, 1)
        peer.send(broken)

    with pytest.raises(UnavailableError) as raised:
        call(serve)
    assert not isinstance(raised.value, NotDoneError)


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", frame(PING, 0, 0, b"12345678")])
def test_what_does_not_greet_gets_no_call(call: Callable[..., bytes], greeting: bytes) -> None:
    with pytest.raises(NotSentError, match=r"closed the connection|reset by peer|Broken pipe|does not speak HTTP/2"):
        call(lambda peer: peer.send(greeting))


def test_a_server_that_says_nothing_is_silent(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with pytest.raises(NotSentError) as raised:
            UnaryConnection(f"unix:{tmp_path}/s", time.monotonic() + 0.05)
    assert raised.value.metadata["silent"] == "true"


# RFC 7541, C.4.1 and C.6.1: texts in Huffman's code, names from the static table.
REQUEST = bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff")
RESPONSE = bytes.fromhex(
    "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3"
)


def test_the_examples_of_the_specification_decode() -> None:
    assert list(hpack.decode(REQUEST)) == [
        (":method", b"GET"),
        (":scheme", b"http"),
        (":path", b"/"),
        (":authority", b"www.example.com"),
    ]
    assert list(hpack.decode(RESPONSE)) == [
        (":status", b"302"),
        ("cache-control", b"private"),
        ("date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", b"https://www.example.com"),
    ]


def test_what_is_encoded_decodes_to_the_same() -> None:
    headers = [(":path", "/a" * 400), ("x", ""), ("y", "ü" * 126), ("z", "z" * 20_000)]
    assert list(hpack.decode(hpack.encode(headers))) == [(name, value.encode()) for name, value in headers]


@pytest.mark.parametrize(
    "block",
    [
        "80",  # no entry 0
        "be",  # the first of a table that is not kept
        "3fe11f",  # a table of 4096 bytes
        "00",
        "0003",
        "00016184ffffffff",  # the end within a text
        "0001618118",  # a text that ends in the midst of a code
        "000161827fff",
        "7fffffffffffff01",
    ],
)
def test_a_block_that_no_server_may_send_is_refused(block: str) -> None:
    with pytest.raises(hpack.HpackError):
        list(hpack.decode(bytes.fromhex(block)))


@pytest.mark.parametrize(
    ("before", "after", "usable"),
    [
        (b"", b"", True),
        (b"", frame(PING, 0, 0, b"12345678") + frame(WINDOW_UPDATE, 0, 0, struct.pack(">L", 5)), True),
        (b"", frame(GOAWAY, 0, 0, struct.pack(">LL", 1, 0)), False),
        (b"", frame(GOAWAY, 0, 0, struct.pack(">LL", 2**31 - 1, 0)), False),
        (frame(GOAWAY, 0, 0, struct.pack(">LL", 1, 0)), b"", False),
        (b"", None, False),
    ],
    ids=["nothing", "frames", "goaway", "goaway of a grace", "goaway during the call", "closed"],
)
def test_a_connection_is_used_again_while_its_server_takes_more(
    tmp_path: Path, before: bytes, after: bytes | None, usable: bool
) -> None:
    said, ended = threading.Event(), threading.Event()

    def served() -> None:
        with listener.accept()[0] as connection:
            peer = Peer(connection)
            peer.greet()
            peer.until(DATA, 1)
            peer.send(before + ANSWERED + (after or b""))
            if after is None:
                connection.shutdown(socket.SHUT_RDWR)
            said.set()
            ended.wait(WAIT_S_MAX)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        thread = threading.Thread(target=served)
        thread.start()
        end_s = time.monotonic() + WAIT_S_MAX
        connection = UnaryConnection(f"unix:{tmp_path}/s", end_s)
        try:
            assert connection.call("/a.B/C", b"x", end_s) == b"ok"
            assert said.wait(WAIT_S_MAX)
            assert connection.is_usable == usable
        finally:
            connection.close()
            ended.set()
            thread.join()
