"""What lies between a client and the broker: one ``Path`` per client, one ``Wire`` per connection.

A wire is TCP: each direction is in order, late, and slow; nothing is lost while it lives. It dies
in one of three ways: ``cut`` (both ends told soon), ``sever`` (half-open: everything sent
vanishes until each end's keep-alive notices), ``finish`` (the client's process ended; what it had
sent still arrives). Everything here runs in the network's own context, so the death of a process
never takes packets under way with it.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field

Deliver = Callable[[], None]


@dataclass(eq=False)
class Path:
    """The weather on one client's way to the broker; the scenario changes it as it likes."""

    rng: random.Random
    latency: tuple[float, float] = (0.002, 0.02)
    bandwidth: float = 1e6
    """Bytes per second, each way."""
    reachable: bool = True
    """False: a connect fails, after a while."""
    stalled_until: float = 0.0
    """Packets sent before this arrive after it: TCP repeats them until the link is back."""
    wires: list[Wire] = field(default_factory=list)

    def delay(self) -> float:
        return self.rng.uniform(*self.latency)

    def cut(self) -> None:
        for wire in list(self.wires):
            wire.cut()

    def sever(self) -> None:
        for wire in list(self.wires):
            wire.sever()


class Pipe:
    """One direction: what is sent is called at the other end, in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: Path, context: Context) -> None:
        self._loop = loop
        self._path = path
        self._context = context
        self._free = 0.0
        self._last = 0.0
        self._travelling: deque[Deliver] = deque()
        self._open = True

    def send(self, size: int, deliver: Deliver) -> None:
        if not self._open:
            return
        self._free = max(self._loop.time(), self._free) + size / self._path.bandwidth
        due = max(self._free + self._path.delay(), self._path.stalled_until)
        self._last = max(self._last, due)
        self._travelling.append(deliver)
        self._loop.call_at(self._last, self._arrive, context=self._context)

    def close(self) -> None:
        self._open = False
        self._travelling.clear()

    def _arrive(self) -> None:
        # Timers of one moment may fire in any order; what travels does not overtake.
        if self._travelling:
            self._travelling.popleft()()


class Wire:
    """One TCP connection; each end learns of its death by its callback, once."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: Path,
        *,
        keep_alive: float,
        client_end: Deliver,
    ) -> None:
        self.context = copy_context()
        self.up = Pipe(loop, path, self.context)
        self.down = Pipe(loop, path, self.context)
        self._loop = loop
        self._path = path
        self._keep_alive = keep_alive
        self._client_end: Deliver | None = client_end
        self._broker_end: Deliver | None = None
        path.wires.append(self)

    def accepted(self, broker_end: Deliver) -> None:
        """The broker serves this connection from now on."""
        self._broker_end = broker_end

    def cut(self) -> None:
        self._die(client=self._path.delay(), broker=self._path.delay() * 10)

    def sever(self) -> None:
        """Dead, and nobody knows: the client misses a PINGRESP, the broker waits 1.5 times."""
        waits = self._keep_alive * (1 + self._path.rng.random())
        self._die(client=waits, broker=self._keep_alive * 1.5)

    def finish(self) -> None:
        """The client's end is closed: what it sent arrives, then the broker knows."""
        self._client_end = None
        self.down.close()
        self.up.send(2, self.broker_closes)

    def broker_closes(self) -> None:
        """The broker's end is closed, by itself or because the client's is."""
        self._die(client=self._path.delay(), broker=0.0)

    def broker_dies(self) -> None:
        """As ``broker_closes``, and there is nobody left to learn of it."""
        self._broker_end = None
        self.broker_closes()

    def _die(self, *, client: float, broker: float) -> None:
        self.up.close()
        self.down.close()
        if self in self._path.wires:
            self._path.wires.remove(self)
        self._loop.call_later(client, self._tell_client, context=self.context)
        if broker > 0:
            self._loop.call_later(broker, self._tell_broker, context=self.context)
        else:
            self._tell_broker()

    def _tell_client(self) -> None:
        tell, self._client_end = self._client_end, None
        if tell is not None:
            tell()

    def _tell_broker(self) -> None:
        tell, self._broker_end = self._broker_end, None
        if tell is not None:
            tell()
