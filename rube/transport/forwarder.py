"""A loopback TCP forwarder that breaks connections on purpose: it stalls, resets and heals.

For tests and demonstrations of a lost network between real processes. `python -m rube.transport.forwarder --listen
127.0.0.1:0 --target 127.0.0.1:7823` prints one line with the address it listens on, then obeys lines on its standard
input: `stall`, `heal`, `reset`, `quit`; the end of its input ends it.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket  # noqa: TID251 (an adapter)
import struct
import sys

import click

from rube.api.addresses import check_host_port
from rube.transport.addresses import cannot_listen

CHUNK_BYTES = 64 * 1024
COMMANDS = ("stall", "heal", "reset", "quit")
# Linux: linux/filter.h and asm-generic/socket.h. A program of one instruction, BPF_RET | BPF_K, that keeps 0 bytes.
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
_DROP_ALL_PROGRAM = struct.pack("HP", 1, ctypes.addressof(_DROP_ALL))


class Forwarder:
    """Forwards connections from `listen` to `target` (`host:port` both), until told otherwise.

    Stalled, it moves no byte and closes nothing: both ends' programs see silence. If it is `deaf`, their kernels do,
    too, as with a cut cable: nothing that they send is acknowledged. Healed, held-back bytes arrive, in order; those
    that a deaf one has not acknowledged come with TCP's next try. Use it as an async context manager.
    """

    def __init__(self, listen: str, target: str, *, deaf: bool = False) -> None:
        self._listen = check_host_port(listen)
        self._target = check_host_port(target)
        self._deaf = deaf
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._connections: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> Forwarder:
        try:
            self._server = await asyncio.start_server(self._accepted, *self._listen)
        except OSError as error:
            raise cannot_listen(f"{self._listen[0]}:{self._listen[1]}", error.strerror or "error") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def address(self) -> str:
        """The address it listens on, as `host:port`."""
        assert self._server is not None, "the forwarder was not started"
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    def stall(self) -> None:
        """Moves nothing from now on, on old connections and new ones."""
        self._flowing.clear()
        for writers in self._connections.values():
            for writer in writers:
                self._hear(writer, False)

    def heal(self) -> None:
        """Moves bytes again; held-back ones arrive."""
        self._flowing.set()
        for writers in self._connections.values():
            for writer in writers:
                self._hear(writer, True)

    def reset(self) -> None:
        """Breaks every connection: both ends get a reset, and bytes under way are lost."""
        for task, writers in list(self._connections.items()):
            for writer in writers:
                writer.transport.abort()
            task.cancel()

    async def close(self) -> None:
        """Stops listening, and breaks the open connections."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._connections)
        self.reset()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hear(self, writer: asyncio.StreamWriter, hears: bool) -> None:
        """Has the kernel take what the other end sends from now on, or drop it unacknowledged."""
        if self._deaf and not writer.is_closing():
            option = _SO_DETACH_FILTER if hears else _SO_ATTACH_FILTER
            value = struct.pack("i", 0) if hears else _DROP_ALL_PROGRAM
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, value)

    def _obey(self, writer: asyncio.StreamWriter) -> None:
        """Stalls a connection that has come while stalled."""
        if not self._flowing.is_set():
            self._hear(writer, False)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        writers = self._connections[task] = [writer]
        try:
            self._obey(writer)
            await self._flowing.wait()
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
            writers.append(upstream_writer)
            self._obey(upstream_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._move(reader, upstream_writer))
                group.create_task(self._move(upstream_reader, writer))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # one end is gone, or `reset`: the other end is closed below
        finally:
            for open_writer in writers:
                open_writer.transport.abort()
            del self._connections[task]

    async def _move(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await self._flowing.wait()
            chunk = await reader.read(CHUNK_BYTES)
            await self._flowing.wait()
            if not chunk:
                writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()


@click.command(help=__doc__)
@click.option("--listen", default="127.0.0.1:0", show_default=True, metavar="HOST:PORT")
@click.option("--target", required=True, metavar="HOST:PORT")
def main(listen: str, target: str) -> None:
    asyncio.run(_serve(listen, target))


async def _serve(listen: str, target: str) -> None:
    async with Forwarder(listen, target) as forwarder:
        click.echo(f"listening on {forwarder.address}")
        while line := await asyncio.to_thread(sys.stdin.readline):
            command = line.strip()
            if command == "quit":
                return
            if command not in COMMANDS:
                click.echo(f"unknown command {command!r}: use one of {', '.join(COMMANDS)}", err=True)
                continue
            getattr(forwarder, command)()
            click.echo(f"done: {command}")


if __name__ == "__main__":
    main()
