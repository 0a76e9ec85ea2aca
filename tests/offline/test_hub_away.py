"""The hub is dead for the whole reconnect of a device: the broker alone brings it up to date."""

from __future__ import annotations

import asyncio

from cloudhub.kube.port import PODS
from tests.parts.system import System
from tests.parts.view import container_of, is_ready, restarts_of

NAMES = ("stays", "noted", "goes", "forced", "crashes")
NOTE = {"metadata": {"annotations": {"example.com/note": "while away"}}}


async def test_everything_is_done_without_it_and_told_when_it_is_back(system: System) -> None:
    for name in NAMES:
        await system.create_pod(name)
    await system.running(*NAMES)
    first = {name: container_of(system.view.pods[name])["containerID"] for name in NAMES}
    before = system.running_ids()
    system.switch.cut()
    await system.kube.patch(PODS, "default", "noted", NOTE)
    await system.delete_pod("goes")
    await system.delete_pod("forced", grace=0)
    await system.create_pod("comes")
    await asyncio.sleep(2)
    await system.hub.kill()
    assert system.running_ids() == before, "the device was to be away"
    revision = _revision(await system.edgeagent("status"))

    system.switch.restore()
    system.kill_container(first["crashes"])
    said = await system.status_says(
        "link:     connected, for", "hub:      not there, as far as the broker knows", "4 Running"
    )
    assert _revision(said) > revision and "complete\n" in said
    async with asyncio.timeout(30):
        while len(now := system.running_ids()) != 2 * 4:
            await asyncio.sleep(0.1)
    assert {one.removeprefix("containerd://") for one in (first["stays"], first["noted"])} < now
    assert system.view.pods["goes"]["metadata"]["deletionTimestamp"], "nobody could finish it"
    assert not is_ready(system.view.pods["comes"])

    await system.hub.start()
    await system.running("stays", "noted", "comes")
    await system.gone("goes", "forced")
    await system.view.until(
        "what happened without a hub is told",
        lambda: is_ready(pod := system.view.pods["crashes"]) and restarts_of(pod) == 1,
    )
    await system.in_step()
    assert all(restarts_of(system.view.pods[name]) == 0 for name in ("stays", "noted", "comes"))


def _revision(said: str) -> int:
    return int(said.partition("revision ")[2].partition(",")[0])
