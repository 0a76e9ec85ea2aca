"""``cloudhub run`` as a process, between an API server and a mosquitto."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shared.link import Broker, ConnectOptions, Will
from shared.messages import Report, Session
from shared.objects import NO_NAMESPACE, Json, ObjectKey
from shared.paho_link import PahoLink
from shared.topics import Topics
from tests.hub_nodes.test_node_status import REPORT
from tests.parts.kubernetes import Cluster
from tests.parts.mosquitto import Mosquitto

Start = Callable[..., "Program"]


class Program:
    def __init__(self, *arguments: str, log: Path) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "cloudhub", *arguments],
                stdout=out,
                stderr=out,
                env={**os.environ, "PYTHONPATH": os.getcwd()},
            )

    async def said(self, pattern: str) -> str:
        """Wait until the log has it; gives its first group."""
        async with asyncio.timeout(20):
            while not (found := re.search(pattern, self.log.read_text())):
                assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.05)
        return found[found.re.groups]

    async def ended(self) -> int:
        async with asyncio.timeout(20):
            return await asyncio.to_thread(self.process.wait)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Program] = []

    def make(*arguments: str) -> Program:
        started.append(Program(*arguments, log=tmp_path / f"hub{len(started)}.log"))
        return started[-1]

    yield make
    for program in started:
        program.process.kill()
        program.process.wait()


@pytest.fixture
async def api(kubernetes: Cluster) -> AsyncIterator[Callable[[str], Any]]:
    """GET on the API server: the object, or None."""
    headers = {"Authorization": f"Bearer {kubernetes.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def get(path: str) -> Json | None:
            async with session.get(kubernetes.url + path, ssl=kubernetes.tls) as answer:
                found: Json = await answer.json()
                return found if answer.status == 200 else None

        yield get


def arguments(cluster: Cluster, mosquitto: Mosquitto, name: str) -> list[str]:
    return [
        *("run", "--kubeconfig", str(cluster.kubeconfig_path), "--mqtt", mosquitto.url),
        *("--metrics-listen", "127.0.0.1:0", "--replica", name),
    ]


async def ready_reason(api: Any, node: str, reason: str) -> None:
    async with asyncio.timeout(10):
        while True:
            found = await api(f"/api/v1/nodes/{node}")
            rows = (found or {}).get("status", {}).get("conditions") or []
            if any(row["type"] == "Ready" and row["reason"] == reason for row in rows):
                return
            await asyncio.sleep(0.05)


async def until_ready(hub: Program) -> str:
    """Wait for /readyz; gives the URL of the hub's own door."""
    url = f"http://127.0.0.1:{await hub.said(r'port[^0-9]+([0-9]+)')}"
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        while True:
            async with session.get(f"{url}/readyz") as answer:
                if answer.status == 200:
                    return url
            await asyncio.sleep(0.05)


async def test_from_start_to_ready_to_a_node_to_a_clean_stop(
    kubernetes: Cluster, mosquitto: Mosquitto, start: Start, api: Any
) -> None:
    hub = start(*arguments(kubernetes, mosquitto, "hub-life"))
    url = await until_ready(hub)
    lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/hub-life"
    assert await api(lease)
    topics = Topics().of("edge-program")
    death = Session(False, "i", 1).encode()
    options = ConnectOptions(
        *("edge-program.i", True, 0, 60, 20), will=Will(topics.session, death, delay=0)
    )
    async with PahoLink(Broker("127.0.0.1", mosquitto.port)).connect(options) as agent:
        await agent.publish(topics.session, Session(True, "i", 1).encode(), retain=True)
        key = ObjectKey("Node", NO_NAMESPACE, "edge-program")
        report = Report(key, "", 1, 0, REPORT).encode()
        await agent.publish(topics.reported(key), report, retain=True)
        await ready_reason(api, "edge-program", "AgentConnected")
        await agent.publish(topics.session, death, retain=True)
        await ready_reason(api, "edge-program", "AgentDisconnected")
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        assert 'kubetide_hub_api_requests_total{code="201"' in await answer.text()
    hub.process.send_signal(signal.SIGTERM)
    assert await hub.ended() == 0, hub.log.read_text()
    assert await api(lease) is None
    assert "Traceback" not in hub.log.read_text()


async def test_credentials_that_the_api_refuses_end_the_hub_with_the_reason(
    kubernetes: Cluster, mosquitto: Mosquitto, start: Start, tmp_path: Path
) -> None:
    text = kubernetes.kubeconfig_path.read_text().replace(kubernetes.token, "wrong-token")
    (tmp_path / "wrong").write_text(text)
    hub = start("run", "--kubeconfig", str(tmp_path / "wrong"), "--mqtt", mosquitto.url)
    hub_log = await asyncio.gather(hub.ended())
    assert hub_log == [1]
    said = hub.log.read_text()
    assert "check the kubeconfig or the token" in said
    assert "wrong-token" not in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--mqtt", "http://x"], "mqtt: 'http://x'"),
        (["--mqtt", "mqtt://x", "--kubeconfig", "/nowhere"], "/nowhere does not exist"),
        (["--mqtt", "mqtt://x", "--node-taint", "x"], "node-taint: 'x'"),
        (["--mqtt", "mqtt://x", "--replica", "A_B"], "replica: 'A_B'"),
    ],
)
async def test_a_wrong_setting_is_one_line_and_exit_code_2(
    wrong: list[str], said: str, start: Start
) -> None:
    hub = start("run", *wrong)
    assert await hub.ended() == 2
    text = hub.log.read_text()
    assert said in text and len(text.splitlines()) == 1
