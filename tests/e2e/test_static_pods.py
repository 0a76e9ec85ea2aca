"""Static pods: a file on the device is a pod in the cluster, and only the file decides about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from devcluster.containerd import Containerd
from shared.objects import Json
from tests.parts.kubectl import Kubectl
from tests.parts.kubernetes import Cluster
from tests.parts.mosquitto import Mosquitto
from tests.parts.system import System, pod, running_system
from tests.parts.view import container_of, is_ready


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    (tmp_path / "manifests").mkdir()
    return tmp_path / "manifests"


@pytest.fixture
async def system(
    kubernetes: Cluster, mosquitto: Mosquitto, containerd: Containerd, manifests: Path
) -> AsyncIterator[System]:
    async with running_system(
        kubeconfig=str(kubernetes.kubeconfig_path),
        broker=mosquitto,
        containerd=containerd,
        agent_options=("--static-pods", str(manifests)),
    ) as running:
        await running.node_is("True")
        yield running


@pytest.fixture
def kubectl(kubernetes: Cluster, tmp_path: Path) -> Kubectl:
    return Kubectl(kubernetes.kubeconfig_path, tmp_path)


def write(manifests: Path, **spec: object) -> None:
    """As an editor does that leaves no half file."""
    manifest = pod("web", **spec)  # type: ignore[arg-type]
    del manifest["spec"]["nodeName"]
    (manifests / ".web.yaml.new").write_text(yaml.safe_dump(manifest))
    (manifests / ".web.yaml.new").rename(manifests / "web.yaml")


async def mirrored(system: System, *, other_than: str = "") -> Json:
    """The mirror when its pod is ready."""
    name = f"web-{system.node}"
    found: Json = await system.view.until(
        f"{name} Ready",
        lambda: (
            is_ready(one := system.view.pods.get(name))
            and one
            and one["metadata"]["uid"] != other_than
            and one
        ),
    )
    return found


async def described_with(kubectl: Kubectl, name: str, reason: str) -> str:
    """Events are written a moment later than statuses."""
    async with asyncio.timeout(60):
        while True:
            described = await asyncio.to_thread(kubectl, "describe", "pod", name)
            if reason in described.partition("Events:")[2]:
                return described
            await asyncio.sleep(0.2)


async def test_a_file_is_a_pod_that_kubectl_shows_and_cannot_stop(
    system: System, manifests: Path, kubectl: Kubectl
) -> None:
    write(manifests)
    first = await mirrored(system)
    (line,) = [one for one in kubectl.lines("get", "pods", "-A") if one[1] == f"web-{system.node}"]
    assert line[:4] == ["default", f"web-{system.node}", "1/1", "Running"]
    assert first["metadata"]["annotations"]["kubernetes.io/config.source"] == "file"
    containers = system.running_ids()

    kubectl("delete", "pod", f"web-{system.node}", "--wait=false")
    second = await mirrored(system, other_than=first["metadata"]["uid"])
    assert container_of(second)["containerID"] == container_of(first)["containerID"]
    assert system.running_ids() == containers
    described = await described_with(kubectl, f"web-{system.node}", "Started")
    assert f"Controlled By:  Node/{system.node}" in described

    (manifests / "web.yaml").unlink()
    await system.gone(f"web-{system.node}")
    await system.only_run()


async def test_a_changed_file_is_another_pod_and_a_broken_one_changes_nothing(
    system: System, manifests: Path
) -> None:
    write(manifests)
    first = await mirrored(system)
    (manifests / "web.yaml").write_text("spec: [")
    await system.status_says("1 wanted: 1 Running", "web.yaml: not YAML")
    running = system.running_ids()
    write(manifests, grace=2)
    second = await mirrored(system, other_than=first["metadata"]["uid"])
    await system.only_run("web")
    assert not running & system.running_ids()
    hashes = {
        one["metadata"]["annotations"]["kubernetes.io/config.mirror"] for one in (first, second)
    }
    assert len(hashes) == 2


async def test_it_runs_offline_and_the_api_learns_of_it_later(
    system: System, manifests: Path
) -> None:
    system.switch.cut()
    await system.node_is("Unknown")
    write(manifests)
    async with asyncio.timeout(30):
        while not system.running_ids():
            await asyncio.sleep(0.1)
    assert f"web-{system.node}" not in system.view.pods
    system.switch.restore()
    await mirrored(system)
