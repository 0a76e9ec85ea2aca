"""The HTTP door over a real socket."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from cloudhub.metrics import MOST_NODES, Metrics, NodeSync
from cloudhub.probing import probes
from shared.errors import SettingsError


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def get(session: aiohttp.ClientSession, port: int, path: str) -> tuple[int, str]:
    async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_ready_says_what_is_missing_until_nothing_is(session: Any) -> None:
    states = {"API listed": True, "broker connected": False}
    conditions = {words: (lambda words=words: states[words]) for words in states}
    async with probes("127.0.0.1:0", Metrics(), conditions) as port:
        assert await get(session, port, "/healthz") == (200, "ok\n")
        status, text = await get(session, port, "/readyz")
        assert (status, text) == (503, "[+] API listed\n[-] broker connected\n")
        states["broker connected"] = True
        assert (await get(session, port, "/readyz"))[0] == 200
        assert (await get(session, port, "/elsewhere"))[0] == 404


async def test_metrics_count_what_happened(session: Any) -> None:
    metrics = Metrics()
    metrics.requested("patch", "pods/status", "200")
    metrics.published("change", 400)
    metrics.published("change", 50)
    metrics.rejected("bad-deflate")
    metrics.connected(True)
    metrics.lagged(0.03)
    async with probes("127.0.0.1:0", metrics, {}) as port:
        _, text = await get(session, port, "/metrics")
    for line in (
        'kubetide_hub_api_requests_total{code="200",resource="pods/status",verb="patch"} 1.0',
        'kubetide_hub_publishes_total{kind="change"} 2.0',
        'kubetide_hub_published_bytes_total{kind="change"} 450.0',
        'kubetide_hub_rejected_messages_total{reason="bad-deflate"} 1.0',
        "kubetide_hub_broker_connected 1.0",
        'kubetide_hub_sync_lag_seconds_bucket{le="0.05"} 1.0',
    ):
        assert line in text.splitlines()


async def test_the_fleet_is_measured_when_asked_and_in_bounded_detail() -> None:
    metrics = Metrics()
    fleet = [NodeSync(f"n{i:05}", i % 2 == 0, 10, 10) for i in range(5000)]
    fleet[4321] = NodeSync("n04321", True, 10, 7)
    metrics.observe_fleet(lambda: fleet)
    text = metrics.text().decode()
    assert "kubetide_hub_nodes_known 5000.0" in text
    assert "kubetide_hub_nodes_online 2501.0" in text
    assert "kubetide_hub_objects_desired 50000.0" in text
    assert "kubetide_hub_objects_in_sync 49997.0" in text
    assert 'kubetide_hub_node_objects_in_sync{node="n04321"} 7.0' in text
    assert len(re.findall("node_objects_desired{", text)) == MOST_NODES


async def test_a_port_that_is_taken_is_a_settings_error() -> None:
    async with probes("127.0.0.1:0", Metrics(), {}) as port:
        with pytest.raises(SettingsError, match="metrics-listen"):
            async with probes(f"127.0.0.1:{port}", Metrics(), {}):
                pass
