"""The loopback forwarder, as a program and as a class."""

from __future__ import annotations

import asyncio
import sys

import pytest

from rube.api.errors import FailedPreconditionError
from rube.transport.forwarder import Forwarder


async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(100):
        writer.write(chunk.upper())
    writer.close()


async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> bytes:
    writer.write(text)
    return await asyncio.wait_for(reader.readexactly(len(text)), 5)


def address_of(server: asyncio.Server) -> str:
    return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def converse(forwarder: Forwarder) -> None:
    reader, writer = await asyncio.open_connection(*forwarder.address.split(":"))
    assert await say(reader, writer, b"before") == b"BEFORE"
    forwarder.stall()
    writer.write(b"held ")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)
    forwarder.heal()
    assert await say(reader, writer, b"back") == b"HELD"
    assert await asyncio.wait_for(reader.readexactly(5), 5) == b" BACK"
    forwarder.reset()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), 5)
    writer.close()


def test_it_stalls_heals_and_resets() -> None:
    async def main() -> None:
        async with await asyncio.start_server(upper, "127.0.0.1", 0) as server:
            async with Forwarder("127.0.0.1:0", address_of(server)) as forwarder:
                await converse(forwarder)
            assert forwarder.connections == 0

    asyncio.run(main())


def test_an_end_is_passed_on() -> None:
    async def main() -> None:
        async with await asyncio.start_server(upper, "127.0.0.1", 0) as server:
            async with Forwarder("127.0.0.1:0", address_of(server)) as forwarder:
                reader, writer = await asyncio.open_connection(*forwarder.address.split(":"))
                writer.write(b"all")
                writer.write_eof()
                assert await asyncio.wait_for(reader.read(), 5) == b"ALL"
                writer.close()

    asyncio.run(main())


def test_a_port_in_use_is_a_clear_error() -> None:
    async def main() -> None:
        async with await asyncio.start_server(upper, "127.0.0.1", 0) as server:
            with pytest.raises(FailedPreconditionError, match="cannot listen"):
                await Forwarder(address_of(server), "127.0.0.1:1").__aenter__()

    asyncio.run(main())


def test_the_program_obeys_its_standard_input() -> None:
    async def main() -> None:
        async with await asyncio.start_server(upper, "127.0.0.1", 0) as server:
            arguments = ("-m", "rube.transport.forwarder", "--target", address_of(server))
            pipe = asyncio.subprocess.PIPE
            program = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdin=pipe, stdout=pipe, stderr=pipe
            )
            assert program.stdin is not None
            assert program.stdout is not None
            try:
                address = (await program.stdout.readline()).decode().removeprefix("listening on ").strip()
                reader, writer = await asyncio.open_connection(*address.split(":"))
                assert await say(reader, writer, b"through") == b"THROUGH"
                program.stdin.write(b"stall\n")
                assert await program.stdout.readline() == b"done: stall\n"
                writer.write(b"later")
                program.stdin.write(b"heal\n")
                assert await asyncio.wait_for(reader.readexactly(5), 5) == b"LATER"
                program.stdin.write(b"explode\nquit\n")
                _, errors = await asyncio.wait_for(program.communicate(), 10)
                assert b"unknown command 'explode'" in errors
                assert program.returncode == 0
                writer.close()
            finally:
                if program.returncode is None:
                    program.kill()
                    await program.wait()

    asyncio.run(main())
