"""A private D-Bus and on it what this project uses of systemd-logind, as its manual describes it.

The bus is a real dbus-daemon. ``Login1`` owns the name org.freedesktop.login1 and delays a shutdown
as logind does: PreparingForShutdown becomes true, PrepareForShutdown is sent, and the machine "is
off" when no delay lock is held any more or InhibitDelayMaxUSec has passed. No test shuts anything
down. It does not do: polkit, sessions, other kinds of lock.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.missing import need, search_path

NAME, OBJECT = "org.freedesktop.login1", "/org/freedesktop/login1"
MANAGER = "org.freedesktop.login1.Manager"

_CONFIGURATION = """<busconfig>
<listen>unix:path={socket}</listen>
<auth>EXTERNAL</auth>
<policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy>
</busconfig>
"""


class PrivateBus:
    """A dbus-daemon on a socket of its own; the address stays the same over a restart."""

    def __init__(self) -> None:
        need("dbus", "dbus-daemon", packages="dbus")
        self.root = Path(tempfile.mkdtemp(prefix="ktd-"))
        self.socket = self.root / "bus"
        self._file = self.root / "bus.conf"
        self._file.write_text(_CONFIGURATION.format(socket=self.socket))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"unix:path={self.socket}"

    def start(self) -> None:
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", "dbus-daemon", "--nofork", "--nopidfile"),
                    f"--config-file={self._file}",
                ],
                stderr=log,
                env={**os.environ, "PATH": search_path()},
            )
        deadline = time.monotonic() + 10
        while not self._listens():
            assert self._process.poll() is None, "dbus-daemon ended"
            assert time.monotonic() < deadline, "dbus-daemon does not listen"
            time.sleep(0.01)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as end:
            return end.connect_ex(str(self.socket)) == 0

    def freeze(self) -> None:
        """It takes connections and bytes, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.root)


class Login1:
    """The stand-in for logind; served by a thread until ``close``."""

    def __init__(
        self, address: str, *, longest_delay: float = 60.0, preparing: bool = False
    ) -> None:
        from jeepney import DBusNameFlags, message_bus
        from jeepney.io.blocking import Proxy, open_dbus_connection

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
        self._guard = threading.RLock()
        self._ending = False
        self._connection = open_dbus_connection(address, enable_fds=True)
        proxy = Proxy(message_bus, self._connection, timeout=5)
        assert proxy.RequestName(NAME, DBusNameFlags.do_not_queue) == (1,)
        self._thread = threading.Thread(target=self._serve, name="login1", daemon=True)
        self._thread.start()

    @property
    def locks(self) -> int:
        with self._guard:
            return len(self._locks)

    def shut_down(self) -> None:
        """As ``systemctl poweroff``."""
        with self._guard:
            self.preparing, self._began = True, time.monotonic()
            self.signal(True)

    def call_off(self) -> None:
        """As when a job of the shutdown fails."""
        with self._guard:
            self.preparing = False
            self.off.clear()
            self.signal(False)

    def signal(self, shutting_down: bool) -> None:
        """PrepareForShutdown alone, whatever is true."""
        from jeepney import DBusAddress, new_signal

        emitter = DBusAddress(OBJECT, interface=MANAGER)
        with self._guard:
            self._connection.send(new_signal(emitter, "PrepareForShutdown", "b", (shutting_down,)))

    def close(self) -> None:
        self._ending = True
        self._thread.join(5)
        self._connection.close()
        while self._locks:
            os.close(self._locks.pop())

    def _serve(self) -> None:
        while not self._ending:
            with contextlib.suppress(TimeoutError):
                try:
                    message = self._connection.receive(timeout=0.02)
                except OSError as error:
                    if isinstance(error, TimeoutError):
                        raise
                    return
                with self._guard:
                    self._answer(message)
            with self._guard:
                self._drop_released()
                self._go_down()

    def _answer(self, message: Any) -> None:
        from jeepney import HeaderFields, MessageType, new_error, new_method_return

        if message.header.message_type is not MessageType.method_call:
            return
        member = message.header.fields[HeaderFields.member]
        if member == "Inhibit":
            self._inhibit(message)
        elif member == "Get" and message.body[0] == MANAGER:
            known = {
                "PreparingForShutdown": ("b", self.preparing),
                "InhibitDelayMaxUSec": ("t", int(self.longest_delay * 1e6)),
            }
            self._connection.send(new_method_return(message, "v", (known[message.body[1]],)))
        else:
            name = "org.freedesktop.DBus.Error.UnknownMethod"
            self._connection.send(new_error(message, name, "s", (member,)))

    def _inhibit(self, message: Any) -> None:
        from jeepney import new_error, new_method_return

        if self.preparing or self.refuses:
            name = "org.freedesktop.login1.OperationInProgress"
            if self.refuses:
                name = "org.freedesktop.DBus.Error.AccessDenied"
            self._connection.send(new_error(message, name, "s", ("not now",)))
            return
        self.asked.append(message.body)
        mine, theirs = os.pipe()
        self._locks.append(mine)
        self._connection.send(new_method_return(message, "h", (theirs,)))
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
def private_bus() -> Iterator[PrivateBus]:
    bus = PrivateBus()
    try:
        bus.start()
        yield bus
    finally:
        bus.close()


@pytest.fixture
def login1(private_bus: PrivateBus) -> Iterator[Login1]:
    service = Login1(private_bus.address)
    yield service
    service.close()
