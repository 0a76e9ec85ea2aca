"""Ports of loopback that are asked for now and used later, by a program that the test starts.

They lie below the range from which the kernel gives ports to connections and to whoever asks it
for any: so nobody gets one meanwhile, and a client that tries a port at which nobody listens yet
does not happen to be given that very port, which connects it to itself.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack

_FIRST, _COUNT = 20_000, 10_000
_TRIES = 1000


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Each another one."""
    with ExitStack() as stack:
        return [_taken(stack) for _ in range(count)]


def _taken(stack: ExitStack) -> int:
    """One that nobody has on any address; it is held until the stack is left."""
    for _ in range(_TRIES):
        port = _FIRST + secrets.randbelow(_COUNT)
        probe = stack.enter_context(socket.socket())
        try:
            probe.bind(("", port))
        except OSError:
            continue
        return port
    raise OSError(f"no free port from {_FIRST} to {_FIRST + _COUNT - 1}")
