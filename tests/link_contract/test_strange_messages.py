"""What other clients put into a message, and a broker passes on, ends no connection."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from contextlib import aclosing

import pytest

from shared.errors import LinkError
from shared.link import Broker, ConnectOptions, Subscription
from shared.paho_link import PahoLink
from tests.parts.mosquitto import Mosquitto
from tests.parts.patience import PATIENCE

ODD = "odd \ufeff text"
"""Well-formed for MQTT 5 and for every broker, and refused by paho."""


def text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


def packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 128, "the length is one byte here"
    return bytes([kind, len(body)]) + body


def publish_by_hand(port: int, topic: str, properties: bytes, payload: bytes) -> None:
    """Retained, QoS 0, with properties as no library of ours would write them."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
        hello = text("MQTT") + b"\x05\x02\x00\x3c" + b"\x00" + text("stranger")
        stranger.sendall(packet(0x10, hello))
        assert stranger.recv(1)[0] == 0x20, "CONNACK"
        body = text(topic) + bytes([len(properties)]) + properties + payload
        stranger.sendall(packet(0x31, body) + packet(0xE0, b"\x00\x00"))
        while stranger.recv(100):
            """Until the broker has read the DISCONNECT."""


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param(b"\x26" + text("key") + text(ODD), id="user property"),
        pytest.param(b"\x03" + text(ODD), id="content type"),
        pytest.param(b"\x08" + text("answer/\ufeff"), id="response topic"),
    ],
)
async def test_odd_properties_end_no_connection(mosquitto: Mosquitto, properties: bytes) -> None:
    await asyncio.to_thread(publish_by_hand, mosquitto.port, "odd/one", properties, b"odd")
    link = PahoLink(Broker("127.0.0.1", mosquitto.port))
    async with link.connect(ConnectOptions("receiver", True, 0, 60, 20)) as connection:
        await connection.subscribe([Subscription("odd/#")])
        async with asyncio.timeout(10 * PATIENCE), aclosing(connection.messages()) as messages:
            odd = await anext(messages)
            assert (odd.topic, odd.payload, odd.response_topic) == ("odd/one", b"odd", "")
            await connection.publish("odd/two", b"next")
            assert (await anext(messages)).payload == b"next"


_HANGS = """
import asyncio, sys, time
from shared.link import Broker, ConnectOptions
from shared.paho_link import PahoLink

async def main():
    link = PahoLink(Broker("127.0.0.1", int(sys.argv[1]), tls=True))
    async with asyncio.timeout(0.5):
        async with link.connect(ConnectOptions("n", True, 0, 60, 20)):
            pass

began = time.monotonic()
try:
    asyncio.run(main())
except TimeoutError:
    print("ended after", round(time.monotonic() - began))
"""


def test_a_handshake_that_nobody_answers_holds_up_no_end_of_the_program() -> None:
    """A service manager waits 15 seconds; paho alone would take as long, and a resolver longer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        program = [sys.executable, "-c", _HANGS, str(port)]
        done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("ended after ")
    assert int(done.stdout.split()[-1]) < 10


async def test_a_device_without_threads_is_one_that_cannot_connect_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(LinkError, match="can't start new thread"):
        async with PahoLink(Broker("127.0.0.1", 1)).connect(ConnectOptions("n", True, 0, 60, 20)):
            pass
