"""The socket behind sd_notify(3). An abstract one: it has no path, so no limit of 108 bytes and nothing to clean up."""

from __future__ import annotations

import socket  # noqa: TID251 (an adapter)
import struct

MESSAGE_BYTES_MAX = 4096
BATCH_MESSAGES_MAX = 64


class NotifySocket:
    """Every process here may write to it, so each message comes with its sender's pid, vouched for by the kernel."""

    def __init__(self, token: str) -> None:
        self.address = f"@rube/notify/{token}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("\0" + self.address[1:])

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[tuple[int, dict[str, str]]]:
        """Returns the messages that have come in: each sender's pid and its assignments."""
        received: list[tuple[int, dict[str, str]]] = []
        while len(received) < BATCH_MESSAGES_MAX:
            try:
                data, control, _, _ = self._socket.recvmsg(MESSAGE_BYTES_MAX, socket.CMSG_SPACE(struct.calcsize("3i")))
            except BlockingIOError:
                break
            pid = 0
            for level, kind, content in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    pid = struct.unpack("3i", content[: struct.calcsize("3i")])[0]
            lines = data.decode(errors="replace").split("\n")
            received.append((pid, dict(line.partition("=")[::2] for line in lines if "=" in line)))
        return received
