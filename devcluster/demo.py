"""The demo: one pod's life on a device that loses its link, told step by step with measured times.

Every step asserts what it shows; a step that does not come true ends the demo with exit code 1.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from cloudhub.kube.port import PODS
from devcluster.cluster import NODE, DevCluster
from devcluster.images import BUSYBOX
from shared.objects import Json

POD = "hello"
PATIENCE = 90.0
"""Seconds within which a step has to come true."""
_COMMAND = "trap 'exit 0' TERM; echo hello from $HOSTNAME; while true; do sleep 1; done"


class Demo:
    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._cluster = DevCluster(say)
        self._times: list[tuple[str, float]] = []

    async def run(self) -> None:
        try:
            async with self._step("broker, API server, hub and agent start; node Ready"):
                await self._cluster.start()
            await self._tell_the_story()
        finally:
            self._say("cleaning up")
            await self._cluster.close()
        self._print_times()

    async def _tell_the_story(self) -> None:
        kube = self._cluster.kube
        async with self._step(f"pod {POD} applied through the API → Running"):
            await kube.create(PODS, "default", _pod())
            await self._until(_is_ready)
        first = await self._pod()
        async with self._step("link of the device cut → node no longer Ready"):
            self._cluster.switch.cut()
            await self._until_node("Unknown")
        async with self._step("container killed, still offline → restarted by the device alone"):
            await self._kill_and_await_restart(_container_id(first))
        if _restarts(await self._pod()):
            raise AssertionError("the API cannot know of the restart yet")
        async with self._step("link restored → the API has caught up with the restart"):
            self._cluster.switch.restore()
            await self._until(lambda pod: _is_ready(pod) and _restarts(pod) == 1)
            await self._until_node("True")
        async with self._step(f"pod {POD} deleted through the API → gone"):
            uid = first["metadata"]["uid"]
            await kube.delete(PODS, "default", POD, uid=uid, grace=5)
            await self._until(lambda pod: not pod)

    async def _kill_and_await_restart(self, container_id: str) -> None:
        runtime = await self._cluster.device_runtime()
        try:
            await runtime.stop_container(container_id, 0)
            async with asyncio.timeout(60):
                while not await _runs_again(runtime, container_id):
                    await asyncio.sleep(0.1)
        finally:
            await runtime.close()

    async def _pod(self) -> Json:
        return await self._cluster.kube.get(PODS, "default", POD) or {}

    async def _until(self, holds: Callable[[Json], Any]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds(await self._pod()):
                self._cluster.agent.check()
                self._cluster.hub.check()
                await asyncio.sleep(0.05)

    async def _until_node(self, ready: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while not await self._cluster.node_is(ready):
                await asyncio.sleep(0.1)

    @asynccontextmanager
    async def _step(self, what: str) -> AsyncIterator[None]:
        started = time.monotonic()
        try:
            yield
        except TimeoutError as error:
            raise AssertionError(f"did not come true in time: {what}") from error
        took = time.monotonic() - started
        self._times.append((what, took))
        self._say(f"{took:6.2f} s  {what}")

    def _print_times(self) -> None:
        runtime = "host processes" if self._cluster.runtime == "process" else "containerd"
        self._say(f"\nmeasured on this machine, pods on {runtime}:")
        for what, took in self._times:
            self._say(f"{took:8.2f} s  {what}")


async def _runs_again(runtime: Any, killed: str) -> bool:
    for sandbox in await runtime.list_sandboxes():
        for container in sandbox.containers:
            if container.id != killed and container.state.value == "running":
                return True
    return False


def _pod() -> Json:
    container = {
        "name": "hello",
        "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", _COMMAND],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": "default", "labels": {"app": POD}},
        "spec": {"nodeName": NODE, "terminationGracePeriodSeconds": 5, "containers": [container]},
    }


def _is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _container(pod: Json) -> Json:
    statuses: list[Json] = pod.get("status", {}).get("containerStatuses") or [{}]
    return statuses[0]


def _container_id(pod: Json) -> str:
    return str(_container(pod).get("containerID", "")).partition("://")[2]


def _restarts(pod: Json) -> int:
    return int(_container(pod).get("restartCount", 0))
