"""Readiness gates: the pod of a device is Ready when somebody in the cluster says so as well."""

from __future__ import annotations

from cloudhub.kube.port import PODS
from shared.objects import Json
from tests.parts.system import System
from tests.parts.view import container_of

GATE = "example.com/load-balanced"


def conditions(system: System) -> dict[str, Json]:
    pod = system.view.pods.get("gated") or {}
    return {row["type"]: row for row in (pod.get("status") or {}).get("conditions") or ()}


async def becomes(system: System, status: str, reason: str | None) -> Json:
    def there() -> bool:
        row = conditions(system).get("Ready", {})
        return (row.get("status"), row.get("reason")) == (status, reason)

    await system.view.until(f"gated Ready={status} {reason}", there)
    return conditions(system)["Ready"]


async def say(system: System, status: str) -> None:
    """As a controller in the cluster does; the device hears nothing of it."""
    patch = {"status": {"conditions": [{"type": GATE, "status": status}]}}
    await system.kube.patch(
        *(PODS, "default", "gated", patch), subresource="status", patch_type="strategic"
    )


async def test_a_pod_with_a_gate_is_ready_when_its_condition_is_true(system: System) -> None:
    await system.create_pod("gated", readinessGates=[{"conditionType": GATE}])
    row = await becomes(system, "False", "ReadinessGatesNotReady")
    assert row["message"] == (
        f'corresponding condition of pod readiness gate "{GATE}" does not exist.'
    )
    assert conditions(system)["ContainersReady"]["status"] == "True"
    first = container_of(system.view.pods["gated"])

    await say(system, "True")
    await becomes(system, "True", None)
    await say(system, "False")
    row = await becomes(system, "False", "ReadinessGatesNotReady")
    assert row["message"] == f'the status of pod readiness gate "{GATE}" is not "True", but False'
    await say(system, "True")
    await becomes(system, "True", None)

    system.kill_container(first["containerID"])
    await becomes(system, "False", "ContainersNotReady")
    await becomes(system, "True", None)
    assert conditions(system)[GATE]["status"] == "True", "it stays as somebody else wrote it"
