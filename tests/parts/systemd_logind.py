"""The real systemd-logind on a private D-Bus, without systemd: a test plays the systemd beside it.

It has a /run of its own (a mount namespace) and does by itself what the agent relies on: it gives
out locks, delays the shutdown, tells of it. What it would then ask of PID 1, to start
poweroff.target, comes to ``_Systemd``, who writes it down: it can shut nothing down.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from tests.parts.dbus import PlayedService, PrivateBus
from tests.parts.logind import MANAGER, NAME, OBJECT
from tests.parts.missing import need, need_root, refuse

_PROGRAM = Path("/lib/systemd/systemd-logind")
_SYSTEMD = "org.freedesktop.systemd1"
_START = """
set -eu
mount -t tmpfs none /run
mkdir -p /run/systemd/seats /run/systemd/sessions /run/systemd/users /run/systemd/inhibit
mkdir -p /run/systemd/shutdown /run/systemd/logind.conf.d /run/udev
printf '[Login]\\nNAutoVTs=0\\nReserveVT=0\\nInhibitDelayMaxSec=%s\\n' "$1" \
    >/run/systemd/logind.conf.d/test.conf
exec "$2"
"""


class SystemdLogind:
    """Looks to a test as ``Login1`` does."""

    def __init__(self, bus: PrivateBus, *, longest_delay: float = 60.0) -> None:
        need_root("systemd-logind")
        need("systemd-logind", "unshare", "setpriv", packages="util-linux")
        if not _PROGRAM.exists():
            refuse("systemd-logind", f"{_PROGRAM} not found: apt-get install systemd")
        self._bus = bus
        self._systemd = _Systemd(bus.address)
        self._began = 0.0
        with (bus.root / "logind.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount"),
                    *("sh", "-c", _START, "sh", f"{longest_delay:g}", str(_PROGRAM)),
                ],
                env={
                    "PATH": os.environ["PATH"],
                    "DBUS_SYSTEM_BUS_ADDRESS": bus.address,
                    "SYSTEMD_LOG_TARGET": "console",
                },
                stdout=log,
                stderr=log,
            )
        self._wait_until_there()

    @property
    def locks(self) -> int:
        (rows,) = self._call("ListInhibitors")
        return sum(1 for what, who, *_ in rows if (what, who) == ("shutdown", "Kubetide"))

    @property
    def off(self) -> threading.Event:
        return self._systemd.off

    @property
    def off_after(self) -> float | None:
        return self._systemd.off_at - self._began if self.off.is_set() else None

    def shut_down(self) -> None:
        self._began = time.monotonic()
        self._call("PowerOff", "b", (False,))

    def call_off(self) -> None:
        self._systemd.fail()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._systemd.close()

    def _wait_until_there(self) -> None:
        from jeepney.wrappers import DBusErrorResponse

        deadline = time.monotonic() + 20
        while True:
            assert self._process.poll() is None, (self._bus.root / "logind.log").read_text()
            try:
                self._call("ListInhibitors")
                return
            except DBusErrorResponse:
                assert time.monotonic() < deadline, "logind does not answer"
                time.sleep(0.02)

    def _call(self, method: str, signature: str = "", body: tuple[Any, ...] = ()) -> Any:
        from jeepney import DBusAddress, new_method_call
        from jeepney.io.blocking import open_dbus_connection
        from jeepney.wrappers import unwrap_msg

        address = DBusAddress(OBJECT, bus_name=NAME, interface=MANAGER)
        with open_dbus_connection(self._bus.address) as connection:
            call = new_method_call(address, method, signature, body)
            return unwrap_msg(connection.send_and_get_reply(call, timeout=10))


class _Systemd(PlayedService):
    """PID 1 as far as logind calls it: a job is queued for every unit that is to start."""

    def __init__(self, address: str) -> None:
        self.off = threading.Event()
        self.off_at = 0.0
        self._jobs = 0
        self._unit = ""
        super().__init__(address, _SYSTEMD)

    def answer(self, message: Any) -> None:
        from jeepney import HeaderFields, new_method_return

        member = message.header.fields[HeaderFields.member]
        if member == "StartUnit":
            self._jobs += 1
            self._unit = message.body[0]
            self.connection.send(new_method_return(message, "o", (self._job,)))
            if self._unit == "poweroff.target":
                self.off_at = time.monotonic()
                self.off.set()
        elif member == "Get":  # The LoadState of poweroff.target.
            self.connection.send(new_method_return(message, "v", (("s", "loaded"),)))
        else:
            self.connection.send(new_method_return(message))

    def fail(self) -> None:
        """The job of the shutdown is cancelled."""
        from jeepney import DBusAddress, new_signal

        self.off.clear()
        manager = DBusAddress("/org/freedesktop/systemd1", interface=f"{_SYSTEMD}.Manager")
        removed = (self._jobs, self._job, self._unit, "canceled")
        with self.guard:
            self.connection.send(new_signal(manager, "JobRemoved", "uoss", removed))

    @property
    def _job(self) -> str:
        return f"/org/freedesktop/systemd1/job/{self._jobs}"
