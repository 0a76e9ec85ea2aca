"""A private mosquitto on a free loopback port, with whatever configuration a test wants.

``start``/``stop``/``kill``/``wipe`` are for tests in which the broker restarts, crashes or loses
its store. The port stays the same over a restart, as a client would find it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.parts.certificates import Certificates
from tests.parts.missing import need, search_path
from tests.parts.patience import PATIENCE
from tests.parts.ports import free_ports

START_SECONDS = 15


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What differs between tests; the rest is a mosquitto as a fleet would run it."""

    tls: Certificates | None = None
    require_client_certificate: bool = False
    passwords: Mapping[str, str] = field(default_factory=dict)
    """By user; with none, anybody may connect."""
    acl: str = ""
    """The text of an ACL file."""
    persistence: bool = True
    device_host: str = "127.0.0.1"
    """Where it listens for the device, on a port of its own."""
    limits: Mapping[str, str] = field(default_factory=dict)
    """More ``mosquitto.conf`` lines: option and value."""


class Mosquitto:
    """One broker process over one folder and one port."""

    def __init__(self, settings: Settings | None = None) -> None:
        need("mosquitto", "mosquitto", "mosquitto_passwd", packages="mosquitto")
        self.settings = settings or Settings()
        self.root = Path(tempfile.mkdtemp(prefix="ktm-"))
        self.port, self.device_port = free_ports(2)
        """The second one is for one client alone, so that its bytes can be counted by port."""
        self.log = self.root / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._make_store()
        self._write_settings()

    @property
    def url(self) -> str:
        return f"{'mqtts' if self.settings.tls else 'mqtt'}://127.0.0.1:{self.port}"

    @property
    def device_place(self) -> str:
        return f"{self.settings.device_host}:{self.device_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "mosquitto", "-c", self.root / "mosquitto.conf"],
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": search_path()},
            )
        deadline = time.monotonic() + START_SECONDS * PATIENCE
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mosquitto did not start: {self.log.read_text()[-3000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """As ``systemctl stop`` does: it writes its store."""
        self._end(subprocess.Popen.terminate)

    def kill(self) -> None:
        """As a crash would: what it had not written is lost."""
        self._end(subprocess.Popen.kill)

    def restart(self) -> None:
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Lose the store: retained messages and sessions; stop it before."""
        assert self._process is None, "a running mosquitto would write its store again"
        shutil.rmtree(self.root / "store")
        self._make_store()

    def configure(self, settings: Settings) -> None:
        """Takes effect at the next start."""
        self.settings = settings
        self._write_settings()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.root)

    def _end(self, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        if self._process is not None:
            how(self._process)
            self._process.wait()
            self._process = None

    def _make_store(self) -> None:
        (self.root / "store").mkdir()

    def _write_settings(self) -> None:
        settings = self.settings
        lines = {
            "user": "root",
            "set_tcp_nodelay": "true",
            "persistence": str(settings.persistence).lower(),
            "persistence_location": f"{self.root}/store/",
            "allow_anonymous": str(not settings.passwords).lower(),
            **self._access_lines(),
            **settings.limits,
        }
        device = self._listener_lines(settings.device_host, self.device_port)
        blocks = [lines, self._listener_lines("127.0.0.1", self.port), device]
        text = "".join(f"{option} {value}\n" for one in blocks for option, value in one.items())
        (self.root / "mosquitto.conf").write_text(text)

    def _listener_lines(self, host: str, port: int) -> dict[str, str]:
        return {"listener": f"{port} {host}", **self._tls_lines()}

    def _tls_lines(self) -> dict[str, str]:
        tls = self.settings.tls
        if tls is None:
            return {}
        demand = self.settings.require_client_certificate
        return {
            "cafile": str(tls.ca),
            "certfile": str(tls.server.certificate),
            "keyfile": str(tls.server.key),
            "require_certificate": str(demand).lower(),
            "use_identity_as_username": str(demand).lower(),
        }

    def _access_lines(self) -> dict[str, str]:
        lines = {}
        if self.settings.passwords:
            lines["password_file"] = str(self._write_passwords())
        if self.settings.acl:
            acl = self.root / "acl"
            acl.write_text(self.settings.acl)
            acl.chmod(0o600)
            lines["acl_file"] = str(acl)
        return lines

    def _write_passwords(self) -> Path:
        path = self.root / "passwords"
        path.write_text(
            "".join(f"{user}:{word}\n" for user, word in self.settings.passwords.items())
        )
        path.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", path], check=True)
        return path


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def new_mosquitto() -> Iterator[Callable[..., Mosquitto]]:
    """Makes started brokers: ``new_mosquitto(persistence=False)`` takes the fields of Settings."""
    made: list[Mosquitto] = []

    def make(**settings: object) -> Mosquitto:
        made.append(Mosquitto(Settings(**settings)))  # type: ignore[arg-type]
        made[-1].start()
        return made[-1]

    yield make
    for broker in made:
        broker.close()


@pytest.fixture
def mosquitto(new_mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    """A plain, persistent broker of the test's own."""
    return new_mosquitto()
