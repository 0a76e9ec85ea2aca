"""What we ask of the kernel so that few segments cross a metered link. Linux only.

A bare acknowledgement costs 52 bytes, as much as a small message. Called by ``paho_link`` only; a
socket that is gone, or no TCP socket, is left alone.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def send_at_once(sock: Any) -> None:
    """Without Nagle's delay: what is to share a segment is written ``corked``."""
    _set(sock, socket.TCP_NODELAY, 1)


@contextmanager
def corked(sock: Any) -> Iterator[None]:
    """What is written inside leaves in as few segments as it fits into."""
    _set(sock, socket.TCP_CORK, 1)
    try:
        yield
    finally:
        _set(sock, socket.TCP_CORK, 0)


def acknowledge_with_answer(sock: Any) -> None:
    """Let the kernel wait (40 ms) for our PUBACK to carry its own acknowledgement.

    The kernel falls back to acknowledging at once whenever nothing was sent in that time, so this
    is asked for again and again.
    """
    _set(sock, socket.TCP_QUICKACK, 0)


def _set(sock: Any, option: int, value: int) -> None:
    if sock is not None and sock.fileno() >= 0:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
