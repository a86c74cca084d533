"""Messages between the warm server and its client: length-prefixed JSON. Standard library only."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any


def receive_message(sock: socket.socket) -> dict[str, Any] | None:
    """One message, or None when the other side closed the socket."""
    header = _exactly(sock, 8)
    if header is None:
        return None
    body = _exactly(sock, struct.unpack("<Q", header)[0])
    return None if body is None else json.loads(body)


def send_message(sock: socket.socket, message: dict[str, Any]) -> None:
    """Send one message."""
    body = json.dumps(message).encode()
    sock.sendall(struct.pack("<Q", len(body)) + body)


def _exactly(sock: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            return None
        data += part
    return data
