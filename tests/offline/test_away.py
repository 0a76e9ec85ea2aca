"""A device is away for a while, and everything that can happen to pods happens to them meanwhile.

Half a minute for CI, ten minutes with the soak. At the reconnect the device's pods are the API's,
what went on running was not touched, and what happened on the device is told with its true times.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import datetime

import pytest

from cloudhub.kube.port import CONFIG_MAPS, PODS
from shared.objects import Json
from tests.parts import images
from tests.parts.mayhem import STABLE, Changes
from tests.parts.system import System, pod
from tests.parts.view import container_of, is_ready, phase_of, restarts_of

NAMES = (
    *("crashes", "labelled", "updated", "configured"),
    *("goes", "forced", "both", "again", "reverted"),
)
LASTS = 12
SLACK = 3.0
"""Seconds that a stamp may be off: stamps are whole seconds, and two processors are shared."""


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(30, id="half a minute"),
        pytest.param(600, id="ten minutes", marks=pytest.mark.soak),
    ],
)
@pytest.mark.timeout(1200)
async def test_what_happened_while_it_was_away(system: System, seconds: float) -> None:
    await _before(system)
    first = {name: container_of(system.view.pods[name])["containerID"] for name in NAMES}
    changes = Changes(system, random.Random(21))
    await changes.begin()
    await system.create_pod("finishes", command=["sleep", f"{LASTS}"], restartPolicy="Never")
    await system.running("finishes")

    system.switch.cut()
    over = time.monotonic() + seconds
    crashed = await _crash(system, first["crashes"])
    await _change(system)
    while time.monotonic() < over:
        await changes.one()
        await asyncio.sleep(min(seconds / 12, 10))
    await system.node_is("Unknown")
    said = await system.edgeagent("status")
    assert "not connected: " in said and "is not known here" in said and "kept on disk" in said
    assert system.view.pods["goes"]["metadata"]["deletionTimestamp"], "only the device may say so"

    system.switch.restore()
    restored = time.monotonic()
    await system.node_is("True", within=90)
    connected = time.monotonic()
    await system.running("new", "again", *STABLE, within=90)
    await system.gone("goes", "forced", "both", "brief")
    await system.view.until("the update", lambda: _is_updated(system.view.pods["updated"]))
    await system.view.until(
        "the end of a pod", lambda: phase_of(system.view.pods["finishes"]) == "Succeeded"
    )
    await system.in_step()
    print(f"{seconds} s away, {changes.count} changes and the named ones: connected again after")
    print(f"{connected - restored:.1f} s, in step {time.monotonic() - connected:.1f} s later")
    _nothing_healthy_was_touched(system, first)
    _times_are_true(system, first["crashes"], crashed)
    await _file_says(system, "configured", "new")
    for name in (*NAMES[:4], "again", "reverted", "new", "finishes"):
        await system.delete_pod(name)
    await system.gone(*NAMES, "new", "finishes")
    await changes.have_settled()
    await system.status_says("link:     connected, for", "all delivered to the broker")


async def _before(system: System) -> None:
    for name in set(NAMES) - {"updated", "reverted", "configured"}:
        await system.create_pod(name)
    for name in ("updated", "reverted"):
        await system.create_pod(name, image=images.APP_V1, command=())
    await system.create(CONFIG_MAPS, _config_map(system, "old"))
    await system.create_pod("configured", **_with_config_map(system))
    await system.running(*NAMES)


async def _change(system: System) -> None:
    """One of every kind, in the API alone."""
    kube = system.kube
    note = {"metadata": {"annotations": {"example.com/note": "while away"}}}
    await kube.patch(PODS, "default", "labelled", note)
    await kube.patch(PODS, "default", "updated", _with_image(system, images.APP_V2))
    for image in (images.APP_V2, images.APP_V1):
        await kube.patch(PODS, "default", "reverted", _with_image(system, image))
        await asyncio.sleep(1)
    await kube.patch(CONFIG_MAPS, "default", _settings(system), {"data": {"text": "new"}})
    await system.delete_pod("goes")
    await system.delete_pod("forced", grace=0)
    await system.delete_pod("both")
    await system.delete_pod("both", grace=0)
    await system.delete_pod("again", grace=0)
    await system.gone("forced", "both", "again")
    await system.create_pod("again")
    await system.create_pod("new")
    await system.create_pod("brief")
    await system.delete_pod("brief", grace=0)


def _with_image(system: System, image: str) -> Json:
    containers: list[Json] = system.view.pods["updated"]["spec"]["containers"]
    return {"spec": {"containers": [{**containers[0], "image": image}]}}


def _is_updated(found: Json) -> bool:
    return is_ready(found) and restarts_of(found) == 1


async def _crash(system: System, container_id: str) -> float:
    """The device heals itself; when it was that the container died."""
    system.kill_container(container_id)
    died = time.time()
    bare = container_id.removeprefix("containerd://")
    async with asyncio.timeout(40):
        while bare in system.running_ids():
            await asyncio.sleep(0.1)
    return died


def _nothing_healthy_was_touched(system: System, first: dict[str, str]) -> None:
    for name in ("labelled", "configured", "reverted"):
        found = container_of(system.view.pods[name])
        assert (found["containerID"], found["restartCount"]) == (first[name], 0), name
    note = system.view.pods["labelled"]["metadata"]["annotations"]
    assert note["example.com/note"] == "while away"
    assert container_of(system.view.pods["again"])["containerID"] != first["again"]
    assert restarts_of(system.view.pods["again"]) == 0
    assert not first.keys() - {"goes", "forced", "both"} - system.view.pods.keys()


def _times_are_true(system: System, killed: str, died: float) -> None:
    """Of the moment in which it happened, not of the one in which it was told."""
    status = container_of(system.view.pods["crashes"])
    ended = status["lastState"]["terminated"]
    assert (ended["containerID"], ended["exitCode"]) == (killed, 137)
    assert abs(_seconds(ended["finishedAt"]) - died) < SLACK
    began = _seconds(status["state"]["running"]["startedAt"])
    assert -SLACK < began - died < 20, "restarted by the device, at once"
    finished = container_of(system.view.pods["finishes"])["state"]["terminated"]
    lasted = _seconds(finished["finishedAt"]) - _seconds(finished["startedAt"])
    assert abs(lasted - LASTS) < SLACK


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _settings(system: System) -> str:
    return f"settings-{system.node}"


def _config_map(system: System, text: str) -> Json:
    return {"metadata": {"name": _settings(system), "namespace": "default"}, "data": {"text": text}}


def _with_config_map(system: System) -> Json:
    container = dict(pod("any")["spec"]["containers"][0])
    container["volumeMounts"] = [{"name": "settings", "mountPath": "/settings"}]
    return {
        "containers": [container],
        "volumes": [{"name": "settings", "configMap": {"name": _settings(system)}}],
    }


async def _file_says(system: System, name: str, text: str) -> None:
    uid = system.view.pods[name]["metadata"]["uid"]
    async with asyncio.timeout(30):
        while text not in [
            path.read_text() for path in system.data.rglob("text") if uid in str(path)
        ]:
            await asyncio.sleep(0.2)
