"""The README's promises: the demo runs to its end, `rube up` until it is stopped, and both leave nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from rube.cli.local import RUCTL, run

REPOSITORY = Path(__file__).parents[2]


def processes_below(directory: Path) -> list[str]:
    """The command lines that name `directory`."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(directory) in command and entry.name != str(os.getpid()):
                found.append(command)
    return found


async def start(directory: Path, *argv: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *argv,
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(directory)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


def test_the_demo_holds_and_leaves_no_process(tmp_path: Path) -> None:
    async def main() -> None:
        process = await start(tmp_path, "rube.cli.demo")
        output, _ = await process.communicate()
        text = output.decode()
        assert process.returncode == 0, text
        assert "Hello again from Rube" in text
        assert "trace sha256: " in text
        assert "All of it held" in text
        assert processes_below(tmp_path) == []
        assert list(tmp_path.iterdir()) == []

    asyncio.run(main())


def test_rube_up_serves_until_it_is_interrupted_and_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        process = await start(tmp_path, "rube.cli.main", "up", "--listen", "127.0.0.1:0", "--nodes", "2")
        assert process.stdout is not None
        address = ""
        while not address:
            line = (await process.stdout.readline()).decode()
            assert line, "it ended before it was up"
            if line.startswith("A cluster is up: apiserver "):
                address = line.split()[5].rstrip(",")
        nodes: list[str] = []
        while nodes != ["api.Node/worker-1", "api.Node/worker-2"]:  # a rubelet is up before it has registered its node
            code, text = await run([*RUCTL, "--server", address, "list", "-t", "api.Node", "-o", "name"])
            assert code == 0, text
            nodes = text.split()
        code, text = await run(
            [*RUCTL, "--server", address, "put", str(REPOSITORY / "examples/02-many-fields/indexer.textproto")]
        )
        assert code == 0, text
        process.send_signal(signal.SIGINT)
        await process.communicate()
        assert process.returncode == 0
        assert processes_below(tmp_path) == []
        assert list(tmp_path.iterdir()) == []

    asyncio.run(main())
