"""The blocking client over TLS: what each refusal says, and that its connection is used again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rube.api.errors import NotSentError
from rube.host import ChannelTls, ServerTls
from rube.transport import GrpcNetwork
from rube.transport.tls_faults import TlsFault
from rube.transport.unary import UnaryConnection
from tests.conformance.transport.transport_identities import FUTURE, PAST, RealIdentities, client_tls, server_tls
from tests.conformance.transport.transport_service import SERVICE, add_service, echo

WAIT_S = 20.0


def on_server(tls: ServerTls | None, ask: Callable[[str], None]) -> None:
    """Runs `ask(target)` in a thread while a server answers."""

    async def main() -> None:
        server = GrpcNetwork().server()
        add_service(server, {"unary_unary": echo})
        bound: Any = server
        port = server.add_insecure_port("127.0.0.1:0") if tls is None else bound.add_secure_port("127.0.0.1:0", tls)
        await server.start()
        try:
            await asyncio.to_thread(ask, f"127.0.0.1:{port}")
        finally:
            await server.stop(None)

    asyncio.run(main())


def refusal(server: ServerTls | None, client: ChannelTls | None, patience_s: float = WAIT_S) -> str:
    found = ""

    def ask(target: str) -> None:
        nonlocal found
        with pytest.raises(NotSentError) as raised:
            UnaryConnection(target, time.monotonic() + patience_s, client)
        assert raised.value.metadata["tls"] == "true"
        found = raised.value.metadata["why"]

    on_server(server, ask)
    return found


def test_calls_share_a_connection(tmp_path: Path) -> None:
    identities = RealIdentities(tmp_path)

    def ask(target: str) -> None:
        connection = UnaryConnection(target, time.monotonic() + WAIT_S, client_tls(identities))
        for body in (b"small", b"x" * 300_000, b"again"):
            assert connection.is_usable
            assert connection.call(f"/{SERVICE}/unary_unary", body, time.monotonic() + WAIT_S) == body
        connection.close()

    on_server(server_tls(identities), ask)


@pytest.mark.parametrize(
    ("server", "client", "fault"),
    [
        ({}, {"issuer": "other"}, TlsFault.REFUSED_AUTHORITY),
        ({}, {"days": PAST}, TlsFault.REFUSED_VALIDITY),
        ({"issuer": "other"}, {}, TlsFault.UNKNOWN_AUTHORITY),
        ({"days": PAST}, {}, TlsFault.EXPIRED),
        ({"days": FUTURE}, {}, TlsFault.NOT_YET_VALID),
        ({"names": ("elsewhere",)}, {}, TlsFault.WRONG_NAME),
        ({"names": ()}, {}, TlsFault.WRONG_PURPOSE),
    ],
)
def test_a_refusal_says_why(tmp_path: Path, server: dict[str, Any], client: dict[str, Any], fault: TlsFault) -> None:
    identities = RealIdentities(tmp_path)
    assert refusal(server_tls(identities, **server), client_tls(identities, **client)) == fault.value


def test_no_certificate_plain_text_and_a_plain_server_say_so(tmp_path: Path) -> None:
    identities = RealIdentities(tmp_path)
    tls = client_tls(identities)
    assert refusal(server_tls(identities), ChannelTls(ca=tls.ca)) == TlsFault.NO_CERTIFICATE.value
    assert refusal(server_tls(identities), None) == TlsFault.TLS_SERVER.value
    assert refusal(None, tls, patience_s=0.5) == TlsFault.PLAIN_SERVER.value
