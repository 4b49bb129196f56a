"""A MariaDB server of the tests' own: a directory, a loopback port, and a process that is killed at the end."""

from __future__ import annotations

import atexit
import getpass
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

INSTALL = "apt-get install mariadb-server-core mariadb-client-core"
START_S_MAX = 20
LOG_SIZE = "--innodb-log-file-size=32M"


def missing() -> str:
    """The reason why no server can be started here, and the remedy; empty if one can."""
    names = ("mariadbd", "mariadb-install-db", "mariadb")
    absent = [name for name in names if _find(name) is None]
    return f"needs {', '.join(absent)}: {INSTALL}" if absent else ""


def _find(name: str) -> str | None:
    return shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/bin:/sbin")


@cache
def _template() -> Path:
    """The data of a new server, made once; the administrator `root` has no password."""
    directory = Path(tempfile.mkdtemp(prefix="rube-mariadb-template-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    path = directory / "data"
    command = [_find("mariadb-install-db") or "", "--no-defaults", f"--datadir={path}", f"--user={getpass.getuser()}"]
    command += ["--auth-root-authentication-method=normal", "--skip-test-db", LOG_SIZE]
    subprocess.run(command, check=True, capture_output=True)
    return path


class MariaDb:
    """One server. `directory` holds its data and is the caller's."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.options: Sequence[str] = options
        self.socket = Path(tempfile.mkdtemp(prefix="rube-mariadb-")) / "s"  # sockets' paths are short
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        if not (directory / "data").exists():
            shutil.copytree(_template(), directory / "data")

    def start(self) -> None:
        """Returns when it answers."""
        log = (self.directory / "log").open("ab")
        self.process = subprocess.Popen(
            [
                *(_find("mariadbd") or "", "--no-defaults", f"--datadir={self.directory / 'data'}"),
                *(f"--socket={self.socket}", f"--port={self.port}", "--bind-address=127.0.0.1"),
                *(f"--user={getpass.getuser()}", f"--pid-file={self.directory / 'pid'}", "--skip-name-resolve"),
                *("--innodb-buffer-pool-size=64M", LOG_SIZE, "--performance-schema=OFF"),
                f"--tmpdir={self.directory}",
                *self.options,
            ],
            stdout=log,
            stderr=log,
        )
        log.close()
        deadline = time.monotonic() + START_S_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((self.directory / "log").read_text()[-2000:]) from None
                time.sleep(0.02)

    def kill(self) -> None:
        """kill -9, and its reaping."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.socket.parent, ignore_errors=True)

    def sql(self, statement: str) -> str:
        """The output of the server's own client, as the administrator."""
        command = [_find("mariadb") or "", "--no-defaults", "-uroot", f"--socket={self.socket}", "-NB", "-e", statement]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def url(self, database: str, user: str = "root") -> str:
        return f"mysql://{user}@127.0.0.1:{self.port}/{database}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
