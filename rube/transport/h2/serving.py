"""One run of h2corn over some listening sockets.

h2corn's public `Server` prints a banner and tells systemd READY=1 when the port is open, binds by itself, and takes no
sockets. So this module calls what that class calls, and which is private: `_lib.serve_fds`, `_lib.prepare_tls`,
`_lifespan.PreparedApplication`, `_server.load_tls_material`. pyproject.toml allows the one version that these were read
in, and tests/unit/transport/test_h2corn_version.py names what another one has changed.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.distribution import install_command
from rube.host import ServerOptions, ServerTls
from rube.transport.h2.listening import Listening
from rube.transport.options import STREAMS_MAX, WINDOW_BYTES
from rube.transport.tls import check_server_tls

Application = Callable[[Any, Any, Any], Awaitable[None]]
GRACE_S_MAX: Final = 30 * 24 * 3600.0
FILES_KEPT: Final = 256
"""So many of the files that a process may open are for other things than connections; of few, half."""
HEADER_BYTES_MAX: Final = 64 * 1024
RESPONSE_STALL_S: Final = 5.0
"""A response that its client takes nothing of for so long is reset: h2corn's bound on what a connection may have
under way is for all its streams, and a stuck one holds up the others until then."""


class Serving:
    """Connections that were accepted with one state of the TLS files, and those still to come until `finish`."""

    def __init__(self, task: asyncio.Task[None], trigger: asyncio.Future[str]) -> None:
        self.task = task
        """Ends when the last connection has."""
        self._trigger = trigger

    def finish(self) -> None:
        """Accepts no more; open connections are told to go, and may end the calls that they carry."""
        if not self._trigger.done():
            self._trigger.set_result("stop")


async def serve(
    application: Application, listening: Sequence[Listening], options: ServerOptions, tls: ServerTls | None
) -> Serving:
    """Returns once connections are accepted. Raises InvalidArgumentError for unusable files."""
    config = _config(options, listening, tls)
    from h2corn._lib import serve_fds
    from h2corn._lifespan import PreparedApplication

    loop = asyncio.get_running_loop()
    started: asyncio.Future[None] = loop.create_future()
    trigger: asyncio.Future[str] = loop.create_future()

    def ready(error: BaseException | None = None) -> None:
        if error is not None and not started.done():
            started.set_exception(error)
        elif not started.done():
            started.set_result(None)

    prepared = PreparedApplication(application, False, "off")
    await prepared.startup(required=False)
    serving = serve_fds(
        prepared, _fds(listening), config, trigger, None, ready, None, prepared_tls=_prepared(config, tls)
    )
    task = asyncio.create_task(_ended(serving), name="h2corn")
    begun = Serving(task, trigger)
    try:
        await started
    except BaseException:
        begun.finish()  # no caller knows it
        raise
    return begun


def _connections_max() -> int:
    """Returns how many connections are served at a time: as many as files may be open, without those for the rest of
    the process. 0: any number."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if files == resource.RLIM_INFINITY else max(files - FILES_KEPT, files // 2)


async def _ended(serving: Awaitable[None]) -> None:
    """Makes a task of h2corn's own future, which asyncio.wait does not take."""
    await serving


def _fds(listening: Iterable[Listening]) -> list[int]:
    return [bound.fileno() for place in listening for bound in place.sockets]


def _prepared(config: Any, tls: ServerTls | None) -> Any:
    from h2corn._lib import prepare_tls
    from h2corn._server import load_tls_material

    if tls is not None:
        check_server_tls(tls)
    try:
        return prepare_tls(config, load_tls_material(config))
    except ValueError as error:
        raise InvalidArgumentError(f"h2corn cannot use the TLS files {tls}: {error}") from error


def _config(options: ServerOptions, listening: Iterable[Listening], tls: ServerTls | None) -> Any:
    """Returns h2corn's configuration. Raises FailedPreconditionError if h2corn is not installed."""
    try:
        from h2corn import Config
    except ImportError as error:
        raise FailedPreconditionError(
            f"the server h2corn is not installed: {install_command('server')}, or choose the server grpcio",
            extra="server",
        ) from error
    files: dict[str, Any] = {}
    if tls is not None:
        files = {"certfile": tls.cert, "keyfile": tls.key, "ca_certs": tls.client_ca}
        files["cert_reqs"] = "optional" if tls.open_methods else "required"
    return Config(
        bind=tuple(f"fd://{fd}" for fd in _fds(listening)),
        grpc=True,
        lifespan="off",
        limit_connections=_connections_max(),
        access_log=False,
        date_header=False,
        # A connection's streams past a limit would wait at the client, in silence: `calls_max` refuses instead.
        max_concurrent_streams=STREAMS_MAX,
        h2_initial_stream_window_size=WINDOW_BYTES,
        h2_initial_connection_window_size=4 * WINDOW_BYTES,
        h2_max_header_list_size=HEADER_BYTES_MAX,
        h2_timeout_response_stall=RESPONSE_STALL_S,
        h2_timeout_write=0,
        timeout_keep_alive=0,
        timeout_graceful_shutdown=GRACE_S_MAX,
        max_request_body_size=2 * options.message_bytes_max,  # gRPC-Web's text is longer
        **files,
    )
