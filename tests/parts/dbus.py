"""A private D-Bus for tests (a real dbus-daemon), and services on it that a test plays."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.missing import need, search_path

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


class PlayedService(ABC):
    """Owns one name of the bus; a thread serves it until ``close``."""

    def __init__(self, address: str, name: str) -> None:
        from jeepney import DBusNameFlags, message_bus
        from jeepney.io.blocking import Proxy, open_dbus_connection

        self.guard = threading.RLock()
        self.connection = open_dbus_connection(address, enable_fds=True)
        self._ending = False
        proxy = Proxy(message_bus, self.connection, timeout=5)
        assert proxy.RequestName(name, DBusNameFlags.do_not_queue) == (1,)
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending = True
        self._thread.join(5)
        self.connection.close()

    @abstractmethod
    def answer(self, message: Any) -> None:
        """To a call; the guard is held."""

    def look(self) -> None:  # noqa: B027 - most services have nothing to look at.
        """Every few milliseconds; the guard is held."""

    def _serve(self) -> None:
        from jeepney import MessageType

        while not self._ending:
            with contextlib.suppress(TimeoutError):
                try:
                    message = self.connection.receive(timeout=0.02)
                except OSError as error:
                    if isinstance(error, TimeoutError):
                        raise
                    return
                if message.header.message_type is MessageType.method_call:
                    with self.guard:
                        self.answer(message)
            with self.guard:
                self.look()


@pytest.fixture
def private_bus() -> Iterator[PrivateBus]:
    bus = PrivateBus()
    try:
        bus.start()
        yield bus
    finally:
        bus.close()
