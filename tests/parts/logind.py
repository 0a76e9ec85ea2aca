"""What this project uses of systemd-logind, as its manual describes it, played on a private D-Bus.

``Login1`` owns the name org.freedesktop.login1 and delays a shutdown as logind does:
PreparingForShutdown becomes true, PrepareForShutdown is sent, and the machine "is off" when no
delay lock is held any more or InhibitDelayMaxUSec has passed. No test shuts anything down. It does
not do: polkit, sessions, other kinds of lock. The real one beside it: ``systemd_logind.py``.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.parts.dbus import PlayedService, PrivateBus

NAME, OBJECT = "org.freedesktop.login1", "/org/freedesktop/login1"
MANAGER = "org.freedesktop.login1.Manager"


class Login1(PlayedService):
    """The stand-in for logind."""

    def __init__(
        self, address: str, *, longest_delay: float = 60.0, preparing: bool = False
    ) -> None:
        self.longest_delay = longest_delay
        self.refuses = False
        self.preparing = preparing
        self.off_after: float | None = None
        """Seconds from the request until the machine went down."""
        self.off = threading.Event()
        self.asked: list[tuple[str, ...]] = []
        """What each lock was asked for with: what, who, why, mode."""
        self._locks: list[int] = []
        self._began = 0.0
        super().__init__(address, NAME)

    @property
    def locks(self) -> int:
        with self.guard:
            return len(self._locks)

    def shut_down(self) -> None:
        """As ``systemctl poweroff``."""
        with self.guard:
            self.preparing, self._began = True, time.monotonic()
            self.signal(True)

    def call_off(self) -> None:
        """As when a job of the shutdown fails."""
        with self.guard:
            self.preparing = False
            self.off.clear()
            self.signal(False)

    def signal(self, shutting_down: bool) -> None:
        """PrepareForShutdown alone, whatever is true."""
        from jeepney import DBusAddress, new_signal

        emitter = DBusAddress(OBJECT, interface=MANAGER)
        with self.guard:
            self.connection.send(new_signal(emitter, "PrepareForShutdown", "b", (shutting_down,)))

    def close(self) -> None:
        super().close()
        while self._locks:
            os.close(self._locks.pop())

    def look(self) -> None:
        self._drop_released()
        self._go_down()

    def answer(self, message: Any) -> None:
        from jeepney import HeaderFields, new_error, new_method_return

        member = message.header.fields[HeaderFields.member]
        if member == "Inhibit":
            self._inhibit(message)
        elif member == "Get" and message.body[0] == MANAGER:
            known = {
                "PreparingForShutdown": ("b", self.preparing),
                "InhibitDelayMaxUSec": ("t", int(self.longest_delay * 1e6)),
            }
            self.connection.send(new_method_return(message, "v", (known[message.body[1]],)))
        else:
            name = "org.freedesktop.DBus.Error.UnknownMethod"
            self.connection.send(new_error(message, name, "s", (member,)))

    def _inhibit(self, message: Any) -> None:
        from jeepney import new_error, new_method_return

        if self.preparing or self.refuses:
            name = "org.freedesktop.login1.OperationInProgress"
            if self.refuses:
                name = "org.freedesktop.DBus.Error.AccessDenied"
            self.connection.send(new_error(message, name, "s", ("not now",)))
            return
        self.asked.append(message.body)
        mine, theirs = os.pipe()
        self._locks.append(mine)
        self.connection.send(new_method_return(message, "h", (theirs,)))
        os.close(theirs)

    def _drop_released(self) -> None:
        for end in list(self._locks):
            poll = select.poll()
            poll.register(end, 0)
            if any(event & select.POLLHUP for _, event in poll.poll(0)):
                self._locks.remove(end)
                os.close(end)

    def _go_down(self) -> None:
        passed = time.monotonic() - self._began
        over = not self._locks or passed >= self.longest_delay
        if self.preparing and not self.off.is_set() and over:
            self.off_after = passed
            self.off.set()


@pytest.fixture
def login1(private_bus: PrivateBus) -> Iterator[Login1]:
    service = Login1(private_bus.address)
    yield service
    service.close()
