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
        "link:     connected, for",
        "hub:      not there, as far as the broker knows",
        ", complete\n",
    )
    while _revision(said) <= revision:
        said = await system.status_says(", complete\n")
    await system.only_run("stays", "noted", "crashes", "comes")
    kept = {first[name].removeprefix("containerd://") for name in ("stays", "noted")}
    assert kept < system.running_ids()
    await system.status_says("4 Running")
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


async def test_status_says_which_part_is_away_in_plain_words(system: System) -> None:
    await system.create_pod("web")
    await system.running("web")
    await system.status_says(
        "agent:    running, version ",
        "link:     connected, for ",
        "hub:      there (",
        "pods:     1 wanted: 1 Running",
        ", complete\n",
        "all delivered to the broker",
    )
    system.broker.stop()
    away = "hub:      not known while the link is away", "is not known here"
    await system.status_says("link:     not connected: mqtt://", *away)
    system.broker.start()
    await system.status_says("link:     connected, for ", "hub:      there (")

    await system.hub.kill()
    said = await system.status_says("hub:      not there, as far as the broker knows")
    assert "link:     connected, for " in said
    await system.hub.start()
    await system.status_says("hub:      there (")

    system.switch.cut()
    said = await system.status_says("link:     not connected: mqtt://", *away)
    assert "connection lost, for " in said
    system.kill_container(container_of(system.view.pods["web"])["containerID"])
    await system.status_says("for the link, kept on disk")
    await system.agent.kill()
    said = await system.status_says(
        "agent:    not running; containers that were running go on without it",
        "note:     what follows is what the agent knew when it last ran",
        "for the link, kept on disk",
    )
    assert "disk: " not in said


def _revision(said: str) -> int:
    return int(said.partition("revision ")[2].partition(",")[0])
