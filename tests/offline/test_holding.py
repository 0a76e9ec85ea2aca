"""The device's veto from end to end: the cluster asks, the device waits for its people."""

from __future__ import annotations

from cloudhub.kube.port import PODS
from edgeagent.pods.rules.holding import CONDITION, HOLD
from shared.objects import Json
from tests.parts.system import System, pod
from tests.parts.view import is_ready


def held(found: Json) -> str:
    rows = found["status"].get("conditions") or []
    return next((row["reason"] for row in rows if row["type"] == CONDITION), "")


async def test_a_deletion_waits_for_a_release_at_the_device(system: System) -> None:
    body = pod("line-3", node=system.node)
    body["metadata"]["annotations"] = {HOLD: "true"}
    await system.create(PODS, body)
    await system.running("line-3")
    before = system.running_ids()

    await system.delete_pod("line-3")
    await system.view.until(
        "the API says that it is held", lambda: held(system.view.pods["line-3"]) == "DeletionHeld"
    )
    assert is_ready(system.view.pods["line-3"]) and system.running_ids() == before
    await system.agent.kill()
    system.switch.cut()
    await system.agent.start()
    await system.status_says("agent:    running", "on hold:  deletion of default/line-3")
    assert "Running (held)" in await system.edgeagent("pods")

    said = await system.edgeagent("release", "line-3")
    assert said == "the deletion of default/line-3 goes on now\n"
    system.switch.restore()
    await system.gone("line-3")
    await system.only_run()


async def test_a_force_deleted_pod_is_held_too(system: System) -> None:
    body = pod("line-4", node=system.node)
    body["metadata"]["annotations"] = {HOLD: "true"}
    await system.create(PODS, body)
    await system.running("line-4")
    before = system.running_ids()
    await system.delete_pod("line-4", grace=0)
    await system.gone("line-4")
    await system.create_pod("other")
    await system.running("other")
    assert before <= system.running_ids()
    await system.status_says("removal of default/line-4")
    await system.edgeagent("release", "line-4")
    await system.delete_pod("other")
    await system.gone("other")
