"""What the tests of probes on a real containerd share."""

from __future__ import annotations

import asyncio
from typing import Any

from shared.objects import Json
from tests.edge_pods.device import Device


def a_probe(**fields: object) -> Json:
    """With time enough for a busy machine, where time is not the matter."""
    return {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 10, **fields}


def runs(script: str) -> Json:
    return {"exec": {"command": ["/bin/sh", "-c", script]}}


def told(device: Device, uid: str, reason: str, name: str = "main") -> list[str]:
    """The messages of these Events about the container, as often as they happened."""
    where = f"{{{name}}}"
    events = device.reports.by_uid[uid].events if uid in device.reports.by_uid else []
    return [
        one.message
        for one in events
        if one.reason == reason and one.field_path.endswith(where)
        for _ in range(one.count)
    ]


async def do(device: Device, uid: str, script: str, name: str = "main") -> None:
    container_id = device.container(uid, name)["containerID"].split("//")[1]
    done = await device.runtime.exec_sync(container_id, ["/bin/sh", "-c", script], 10)
    assert done.exit_code == 0


async def never(condition: Any, *, seconds: float) -> None:
    for _ in range(int(seconds / 0.05)):
        assert not condition()
        await asyncio.sleep(0.05)
