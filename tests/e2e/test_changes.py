"""What a user may change of a pod that runs: its size, and a container to debug it with.

On a real API server only: the embedded one has neither ``pods/resize`` nor
``pods/ephemeralcontainers``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudhub.kube.port import PODS
from shared.objects import Json
from tests.parts import images
from tests.parts.kubectl import Kubectl
from tests.parts.kubernetes import Cluster
from tests.parts.system import System, pod

pytestmark = pytest.mark.parametrize("kubernetes", ["real"], indirect=True)


@pytest.fixture
def kubectl(kubernetes: Cluster, tmp_path: Path) -> Kubectl:
    return Kubectl(kubernetes.kubeconfig_path, tmp_path)


async def until(kubectl: Kubectl, name: str, found: Callable[[Json], bool]) -> Json:
    """The pod, as soon as it is like that."""
    seen: Json = {}
    deadline = asyncio.get_running_loop().time() + 60
    while asyncio.get_running_loop().time() < deadline:
        seen = await asyncio.to_thread(kubectl.get, "pod", name)
        if found(seen):
            return seen
        await asyncio.sleep(0.2)
    raise AssertionError(json.dumps(seen, indent=1))


def runs(pod: Json) -> bool:
    statuses = pod["status"].get("containerStatuses") or [{}]
    return all("running" in one.get("state", {}) for one in statuses)


def conditions(pod: Json) -> dict[str, Json]:
    return {one["type"]: one for one in pod["status"].get("conditions", ())}


def size(pod: Json) -> str:
    """The cpu that the container has."""
    (status,) = pod["status"]["containerStatuses"]
    return str(status.get("resources", {}).get("requests", {}).get("cpu"))


def resize(kubectl: Kubectl, name: str, cpu: str) -> None:
    containers = [{"name": "main", "resources": {"requests": {"cpu": cpu}}}]
    patch = json.dumps({"spec": {"containers": containers}})
    kubectl("patch", "pod", name, "--subresource", "resize", "--patch", patch)


async def create(system: System, kubectl: Kubectl, name: str, cpu: str) -> Json:
    made = pod(name, node=system.node, command=("sleep", "3600"))
    made["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    await system.create(PODS, made)
    return await until(kubectl, name, lambda pod: runs(pod) and size(pod) == cpu)


async def test_a_running_pod_is_resized_and_waits_for_room(
    system: System, kubectl: Kubectl
) -> None:
    """What a device can never give, an API server of today refuses by itself."""
    before = await create(system, kubectl, "resized", "10m")
    node = await asyncio.to_thread(kubectl.get, "node", system.node)
    cpus = int(node["status"]["allocatable"]["cpu"])
    await create(system, kubectl, "big", str(cpus - 1))
    resize(kubectl, "resized", "20m")
    after = await until(kubectl, "resized", lambda pod: size(pod) == "20m")
    assert after["status"]["observedGeneration"] == after["metadata"]["generation"] == 2
    (status,) = after["status"]["containerStatuses"]
    assert status["allocatedResources"] == {"cpu": "20m"}
    assert status["containerID"] == before["status"]["containerStatuses"][0]["containerID"]
    resize(kubectl, "resized", "1100m")
    waits = await until(kubectl, "resized", lambda pod: "PodResizePending" in conditions(pod))
    pending = conditions(waits)["PodResizePending"]
    assert (pending["status"], pending["reason"]) == ("True", "Deferred")
    assert pending["observedGeneration"] == 3
    assert size(waits) == "20m"
    await system.delete_pod("big", grace=0)
    after = await until(
        kubectl,
        "resized",
        lambda pod: size(pod) == "1100m" and "PodResizePending" not in conditions(pod),
    )
    assert conditions(after)["Ready"]["observedGeneration"] == 3
    text = await asyncio.to_thread(kubectl, "describe", "pod", "resized")
    for reason in ("ResizeStarted", "ResizeCompleted", "ResizeDeferred"):
        assert reason in text


async def test_a_pod_is_resized_as_a_whole(system: System, kubectl: Kubectl) -> None:
    """The API server lets it through only to a node that declares that it can do it."""
    made = pod("whole", node=system.node, command=("sleep", "3600"))
    limits = {"cpu": "100m", "memory": "64Mi"}
    made["spec"]["resources"] = {"limits": limits, "requests": {"cpu": "50m"}}
    await system.create(PODS, made)
    before = await until(kubectl, "whole", runs)
    requests = {"cpu": "50m", "memory": "64Mi"}
    assert before["spec"]["resources"] == {"limits": limits, "requests": requests}
    assert before["status"]["qosClass"] == "Burstable"
    assert before["status"]["resources"] == before["spec"]["resources"]
    assert before["status"]["allocatedResources"] == requests
    asked = {"spec": {"resources": {"limits": {"cpu": "200m", "memory": "96Mi"}}}}
    kubectl("patch", "pod", "whole", "--subresource", "resize", "--patch", json.dumps(asked))
    after = await until(
        kubectl,
        "whole",
        lambda pod: pod["status"]["resources"]["limits"] == asked["spec"]["resources"]["limits"],
    )
    assert after["status"]["allocatedResources"] == requests
    (status,) = after["status"]["containerStatuses"]
    assert status["containerID"] == before["status"]["containerStatuses"][0]["containerID"]


async def test_a_pod_that_is_being_deleted_has_observed_the_generation_of_its_deletion(
    system: System, kubectl: Kubectl
) -> None:
    made = pod("leaving", node=system.node, command=("sh", "-c", "trap '' TERM; sleep 3600"))
    await system.create(PODS, made)
    await until(kubectl, "leaving", runs)
    await asyncio.to_thread(kubectl, "delete", "pod", "leaving", "--grace-period=8", "--wait=false")
    leaving = await until(
        kubectl, "leaving", lambda pod: pod["status"].get("observedGeneration") == 2
    )
    assert leaving["metadata"]["generation"] == 2
    assert conditions(leaving)["Ready"]["observedGeneration"] == 2
    await system.gone("leaving")


async def test_kubectl_debug_looks_into_a_container(system: System, kubectl: Kubectl) -> None:
    await system.create_pod("watched")
    await until(kubectl, "watched", runs)
    script = "tr '\\0' ' ' < /proc/1/cmdline > /dev/termination-log; exit 3"
    await asyncio.to_thread(
        kubectl,
        *("debug", "watched", f"--image={images.BUSYBOX}", "--target=main", "--container=looks"),
        *("--image-pull-policy=IfNotPresent", "--", "sh", "-c", script),
    )

    def ended(pod: Json) -> bool:
        found = pod["status"].get("ephemeralContainerStatuses") or [{"state": {}}]
        return "terminated" in found[0]["state"]

    debugged = await until(kubectl, "watched", ended)
    (status,) = debugged["status"]["ephemeralContainerStatuses"]
    seen = status["state"]["terminated"]
    assert (status["name"], seen["exitCode"]) == ("looks", 3)
    command = debugged["spec"]["containers"][0]["command"]
    assert seen["message"].split() == " ".join(command).split()
    assert runs(debugged) and conditions(debugged)["Ready"]["status"] == "True"
