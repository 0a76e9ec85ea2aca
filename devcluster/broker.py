"""The embedded MQTT 5 broker of ``kubetide up``: rumqttd (``iotcore`` wheel), in a child process.

For one machine and for trying things. It keeps retained messages and sessions in memory only and
ignores retain handling; production and the main tests use mosquitto. ``stop`` leaves no process
and no file; the child also ends when this process dies.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from pathlib import Path

from iotcore import Broker

from shared.codec import MAX_WIRE

_CONFIG = """
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 10
[v5.1]
name = "kubetide"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 5000
max_payload_size = {max_payload}
max_inflight_count = 200
"""


class EmbeddedBroker:
    """``start()`` returns when the broker accepts connections on ``port`` of loopback."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._broker: Broker | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self, timeout: float = 10.0) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="kubetide-broker-")
        config = Path(self._folder.name) / "rumqttd.toml"
        config.write_text(_CONFIG.format(port=self.port, max_payload=MAX_WIRE))
        self._broker = Broker(config_path=str(config))
        self._broker.start()
        self._wait_until_it_listens(timeout)

    def stop(self) -> None:
        """Idempotent; ``start`` may follow (with an empty store)."""
        if self._broker is not None:
            self._broker.stop()
            self._broker = None

    def close(self) -> None:
        self.stop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _wait_until_it_listens(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=0.2).close()
                return
            time.sleep(0.02)
        raise TimeoutError(f"the embedded broker does not listen on port {self.port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
