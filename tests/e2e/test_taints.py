"""Taints of a Node: from the API to the door of its device, and no further."""

from __future__ import annotations

import asyncio

from cloudhub.kube.port import NODES
from shared.objects import Json
from tests.parts.system import System

KEY = "example.com/maintenance"


async def test_a_taint_refuses_pods_that_come_and_stops_none_that_runs(system: System) -> None:
    """Nor does the one that Kubernetes sets on a Node that is away, whatever happens there."""
    await system.create_pod("web")
    await system.running("web")
    await _taint(system, {"key": KEY, "value": "week-7", "effect": "NoExecute"})
    await system.stores("Node/%", KEY)
    await system.create_pod("late")
    await _refused(system, "late")
    bears = {"key": KEY, "operator": "Equal", "value": "week-7", "effect": "NoExecute"}
    await system.create_pod("able", tolerations=[bears])
    await system.running("web", "able")
    assert len(system.running_ids()) == 4

    await system.agent.kill()
    await asyncio.to_thread(system.containerd.power_off)
    system.containerd.start()
    system.switch.cut()
    await system.agent.start()
    await system.only_run("web", "able")
    away = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
    await _taint(system, away)
    system.switch.restore()
    await system.running("web", "able")
    await system.create_pod("new")
    await system.running("web", "able", "new")


async def _taint(system: System, *taints: Json) -> None:
    """Instead of those that there were."""
    await system.kube.patch(NODES, "", system.node, {"spec": {"taints": list(taints)}})


async def _refused(system: System, name: str) -> None:
    words = (
        "Pod was rejected: Predicate TaintToleration failed:"
        " node(s) had taints that the pod didn't tolerate"
    )

    def told() -> bool:
        status = system.view.pods[name].get("status", {}) if name in system.view.pods else {}
        said = [status.get(field) for field in ("phase", "reason", "message")]
        return said == ["Failed", "TaintToleration", words]

    await system.view.until(f"pod {name} refused for a taint", told, within=30)
