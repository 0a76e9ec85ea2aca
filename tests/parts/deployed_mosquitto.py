"""A mosquitto that runs with the files of ``deploy/mosquitto``; only paths and port are others.

Everybody needs a client certificate of the test authority; its common name is the user.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.certificates import Certificates
from tests.parts.mosquitto import Mosquitto, Settings

DEPLOYED = Path(__file__).parents[2] / "deploy" / "mosquitto"
HUB = "kubetide-hub"


class DeployedMosquitto(Mosquitto):
    def __init__(self, certificates: Certificates) -> None:
        super().__init__(Settings(tls=certificates, require_client_certificate=True))

    def _write_settings(self) -> None:
        tls = self.settings.tls
        assert tls is not None
        here = {
            "listener 8883": f"listener {self.port} 127.0.0.1",
            "/etc/mosquitto/tls/ca.crt": str(tls.ca),
            "/etc/mosquitto/tls/tls.crt": str(tls.server.certificate),
            "/etc/mosquitto/tls/tls.key": str(tls.server.key),
            "/etc/mosquitto/kubetide.acl": str(DEPLOYED / "kubetide.acl"),
            "/var/lib/mosquitto/": f"{self.root}/store/",
        }
        text = (DEPLOYED / "mosquitto.conf").read_text()
        for written, instead in here.items():
            assert text.count(written) == 1, f"{written} is not in mosquitto.conf just once"
            text = text.replace(written, instead)
        (self.root / "mosquitto.conf").write_text(f"user root\n{text}")


@pytest.fixture
def deployed_mosquitto(certificates: Certificates) -> Iterator[DeployedMosquitto]:
    broker = DeployedMosquitto(certificates)
    try:
        broker.start()
        yield broker
    finally:
        broker.close()
