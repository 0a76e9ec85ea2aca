"""A device's own network namespace, joined to this machine by one link that can be bad.

The link is a pair of TUN devices, one in the namespace and one here, and a relay between them in
this process: whole IP packets are lost, delayed, held back by a narrow line or swallowed, and both
ends see it with a real TCP of the kernel. That is what ``tc netem`` does too, which not every
kernel has. Owns everything that it makes, by names of its own; ``close`` removes it. Seeded.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import secrets
import shutil
import struct
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.parts.missing import need, need_root, refuse

TUN = "/dev/net/tun"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MTU = 1500
MOST_QUEUED = 100
"""Packets before a narrow line; later ones are lost, as in every router."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Of one direction."""

    loss: float = 0.0
    """Share of the packets."""
    delay: float = 0.0
    """Seconds, one way."""
    rate: float = 0.0
    """Bits per second; 0 = no limit."""


GOOD = Quality()
DEAD = Quality(loss=1.0)


class BadLink:
    """``up`` is from the device to this machine, ``down`` the way to the device."""

    def __init__(self, *, seed: int = 1) -> None:
        need_root("network namespace")
        need("network namespace", "ip", "nsenter", packages="iproute2 util-linux")
        if not os.path.exists(TUN):
            refuse("network namespace", f"{TUN} is not there")
        mark = secrets.token_hex(4)
        self.namespace = f"kt-{mark}"
        self._names = f"kt{mark}n", f"kt{mark}f"
        third, fourth = secrets.randbelow(256), secrets.randbelow(63) * 4
        self.host = f"198.18.{third}.{fourth + 1}"
        """This machine's address, as the device sees it."""
        self.device = f"198.18.{third}.{fourth + 2}"
        self._rng = random.Random(seed)
        self._files: list[int] = []
        self._up: _Direction | None = None
        self._down: _Direction | None = None
        self._has_namespace = False

    @property
    def enter(self) -> list[str]:
        """Before a command: it then has the namespace's network, and shares all else with us."""
        return [shutil.which("nsenter") or "nsenter", f"--net=/run/netns/{self.namespace}", "--"]

    def start(self) -> None:
        """Within a running loop, which then carries the packets."""
        _ip("netns", "add", self.namespace)
        self._has_namespace = True
        self._files = [_open_tun(name) for name in self._names]
        near, far = self._names
        _ip("address", "add", f"{self.host}/30", "dev", near)
        _ip("link", "set", near, "up")
        _ip("link", "set", far, "netns", self.namespace)
        self._inside("link", "set", "lo", "up")
        self._inside("address", "add", f"{self.device}/30", "dev", far)
        self.plug()
        loop = asyncio.get_running_loop()
        here, there = self._files
        self._up = _Direction(loop, there, here, rng=self._rng)
        self._down = _Direction(loop, here, there, rng=self._rng)

    def shape(self, *, up: Quality, down: Quality) -> None:
        """From now on; packets that are on their way arrive as they would have."""
        assert self._up and self._down, "not started"
        self._up.quality, self._down.quality = up, down

    def unplug(self) -> None:
        """As ``ip link set down`` on the device: no carrier, and no sign to the other side."""
        self._inside("link", "set", self._names[1], "down")

    def plug(self) -> None:
        self._inside("link", "set", self._names[1], "up")
        self._inside("route", "replace", "default", "via", self.host)

    def counted(self) -> tuple[int, int]:
        """Packets that came to either end of the link so far, and those of them that were lost."""
        assert self._up and self._down, "not started"
        return self._up.seen + self._down.seen, self._up.lost + self._down.lost

    def close(self) -> None:
        for direction in (self._up, self._down):
            if direction is not None:
                direction.close()
        for file in self._files:
            os.close(file)
        self._files = []
        if self._has_namespace:
            _ip("netns", "delete", self.namespace)
            self._has_namespace = False

    def _inside(self, *arguments: str) -> None:
        _ip("-netns", self.namespace, *arguments)


class _Direction:
    """Carries packets from one file to the other."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, source: int, target: int, *, rng: random.Random
    ) -> None:
        self.quality = GOOD
        self.seen = self.lost = 0
        self._loop = loop
        self._source = source
        self._target = target
        self._rng = rng
        self._line_free = 0.0
        self._under_way: set[asyncio.TimerHandle] = set()
        loop.add_reader(source, self._readable)

    def close(self) -> None:
        self._loop.remove_reader(self._source)
        for handle in self._under_way:
            handle.cancel()

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._take(os.read(self._source, 65536))

    def _take(self, packet: bytes) -> None:
        self.seen += 1
        quality, now = self.quality, self._loop.time()
        if self._rng.random() < quality.loss or not self._has_room(now):
            self.lost += 1
            return
        leaves = now
        if quality.rate:
            leaves = max(now, self._line_free) + 8 * len(packet) / quality.rate
            self._line_free = leaves
        if leaves + quality.delay <= now:
            self._deliver(packet)
        else:
            self._deliver_at(leaves + quality.delay, packet)

    def _has_room(self, now: float) -> bool:
        rate = self.quality.rate
        return not rate or (self._line_free - now) * rate < MOST_QUEUED * MTU * 8

    def _deliver_at(self, when: float, packet: bytes) -> None:
        def arrive() -> None:
            self._under_way.discard(handle)
            self._deliver(packet)

        handle = self._loop.call_at(when, arrive)
        self._under_way.add(handle)

    def _deliver(self, packet: bytes) -> None:
        """An interface that is down takes nothing: the packet is lost."""
        with contextlib.suppress(OSError):
            os.write(self._target, packet)


def _open_tun(name: str) -> int:
    file = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return file


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
async def bad_link() -> AsyncIterator[BadLink]:
    """Up, and as good as loopback until it is shaped."""
    link = BadLink()
    try:
        link.start()
        yield link
    finally:
        link.close()
