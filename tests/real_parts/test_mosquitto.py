"""The mosquitto that other tests stand on does what its configuration says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from tests.parts.certificates import Certificates
from tests.parts.mosquitto import Mosquitto

NewMosquitto = Callable[..., Mosquitto]


def publish(broker: Mosquitto, *options: object) -> bool:
    return _client("mosquitto_pub", broker, "-t", "a/b", "-m", "kept", "-r", *options) is not None


def retained(broker: Mosquitto, *options: object) -> str:
    return _client("mosquitto_sub", broker, "-t", "a/b", "-C", "1", "-W", "1", *options) or ""


def _client(program: str, broker: Mosquitto, *options: object) -> str | None:
    command = [program, "-h", "localhost", "-p", str(broker.port), "-V", "5", "-q", "1"]
    done = subprocess.run(
        [*command, *map(str, options)], capture_output=True, text=True, check=False, timeout=10
    )
    return done.stdout.strip() if done.returncode == 0 else None


def test_keeps_retained_messages_over_a_restart_on_the_same_port(mosquitto: Mosquitto) -> None:
    assert publish(mosquitto)
    port, pid = mosquitto.port, mosquitto.pid
    mosquitto.restart()
    assert (mosquitto.port, retained(mosquitto)) == (port, "kept")
    assert mosquitto.pid != pid


def test_a_wiped_broker_has_forgotten(mosquitto: Mosquitto) -> None:
    assert publish(mosquitto)
    mosquitto.stop()
    mosquitto.wipe()
    mosquitto.start()
    assert retained(mosquitto) == ""


def test_without_persistence_a_crash_forgets(new_mosquitto: NewMosquitto) -> None:
    broker = new_mosquitto(persistence=False)
    assert publish(broker)
    assert retained(broker) == "kept"
    broker.kill()
    broker.start()
    assert retained(broker) == ""


def test_passwords_and_acl(new_mosquitto: NewMosquitto) -> None:
    broker = new_mosquitto(
        passwords={"writer": "w", "reader": "r"},
        acl="user writer\ntopic readwrite a/b\nuser reader\ntopic read a/b\n",
    )
    assert not publish(broker)
    assert not publish(broker, "-u", "writer", "-P", "wrong")
    publish(broker, "-u", "reader", "-P", "r")
    assert retained(broker, "-u", "reader", "-P", "r") == ""
    assert publish(broker, "-u", "writer", "-P", "w")
    assert retained(broker, "-u", "reader", "-P", "r") == "kept"


def test_tls_with_client_certificates(
    new_mosquitto: NewMosquitto, certificates: Certificates
) -> None:
    broker = new_mosquitto(tls=certificates, require_client_certificate=True)
    edge = certificates.client("edge-1")
    trusted = ("--cafile", certificates.ca)
    assert broker.url.startswith("mqtts://")
    assert not publish(broker, *trusted)
    assert publish(broker, *trusted, "--cert", edge.certificate, "--key", edge.key)


def test_limits_reach_the_configuration(new_mosquitto: NewMosquitto) -> None:
    broker = new_mosquitto(limits={"max_packet_size": "200"})
    assert publish(broker)
    _client("mosquitto_pub", broker, "-t", "a/b", "-r", "-m", "x" * 1000)
    assert retained(broker) == "kept"
