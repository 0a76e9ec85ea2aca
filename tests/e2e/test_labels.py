"""Labels of a Node: pods that come past the scheduler may be there, or are refused."""

from __future__ import annotations

import asyncio

from cloudhub.kube.port import EVENTS, NODES
from shared.objects import Json
from tests.parts.system import System

REASON = "NodeAffinity"
WORDS = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"


async def test_a_pod_that_the_labels_of_its_node_do_not_fit_is_refused(system: System) -> None:
    """One whose label has only just been set is not, nor is one that runs when its label goes."""
    await _label(system, zone="a")
    await system.create_pod("web", nodeSelector={"zone": "a"})
    await system.running("web")
    await system.create_pod("wrong", nodeSelector={"zone": "b"})
    await _refused(system, "wrong")
    await system.create_pod("blind", **_where("gpu", "Exists"))
    await _refused(system, "blind")
    await system.stores("Node/%", "gpu")

    for turn in range(5):
        await _label(system, zone="b", **{f"gpu-{turn}": "yes"})
        await system.create_pod(f"now-{turn}", **_where(f"gpu-{turn}", "Exists"))
    await system.running("web", *(f"now-{turn}" for turn in range(5)))

    await system.agent.kill()
    await asyncio.to_thread(system.containerd.power_off)
    system.containerd.start()
    system.switch.cut()
    await system.agent.start()
    await system.only_run("web", *(f"now-{turn}" for turn in range(5)))
    system.switch.restore()
    await system.create_pod("late", nodeSelector={"zone": "a"})
    await _refused(system, "late")
    await system.running("web")


def _where(key: str, operator: str, *values: str) -> Json:
    wanted = {"key": key, "operator": operator, "values": list(values)}
    rule = {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": rule}}}


async def _label(system: System, **labels: str) -> None:
    await system.kube.patch(NODES, "", system.node, {"metadata": {"labels": labels}})


async def _refused(system: System, name: str) -> None:
    def told() -> bool:
        status = system.view.pods[name].get("status", {}) if name in system.view.pods else {}
        said = [status.get(field) for field in ("phase", "reason", "message")]
        return said == ["Failed", REASON, f"Pod was rejected: {WORDS}"]

    await system.view.until(f"pod {name} refused for a label", told, within=30)
    async with asyncio.timeout(30):
        while not await _warned(system, name):
            await asyncio.sleep(0.1)


async def _warned(system: System, name: str) -> bool:
    events = await system.kube.list(EVENTS, namespace="default")
    said = [one for one in events if one["involvedObject"]["name"] == name]
    return [(one["type"], one["reason"], one["message"]) for one in said] == [
        ("Warning", REASON, WORDS)
    ]
