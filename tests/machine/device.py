"""A device as ``docs/deployment.md`` sets one up: systemd, Debian's containerd, the agent's unit.

The cloud is outside of the guest: mosquitto, API server and hub run beside the tests, so that they
go on while the device is off.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cloudhub.kube.access import open_access
from cloudhub.kube.client import KubeClient
from cloudhub.kube.port import PODS
from devcluster.images import PAUSE
from devcluster.processes import Program
from shared.clock import SystemClock
from shared.objects import Json
from tests.parts import system
from tests.parts.guest import HOST, Guest
from tests.parts.guest_start import PROJECT
from tests.parts.kubernetes import Cluster
from tests.parts.mosquitto import Mosquitto
from tests.parts.view import View, is_ready, ready_of

NODE = "edge-vm"
UNIT = (PROJECT / "deploy" / "systemd" / "edgeagent.service").read_text()

_SETTINGS = """
node-name = "{node}"
mqtt = "mqtt://{host}:{port}"
"""

_LOGIND = """
[Login]
InhibitDelayMaxSec=30
"""

_CONTAINERD = f"""
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
"""

_NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.88.0.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}


def set_up(guest: Guest, broker: Mosquitto, archive: Path) -> None:
    """Install units and settings, bring the images, start the agent with every boot from now on."""
    # What the unit's -OO wants compiled is made here, where it takes no time.
    compiled = [sys.executable, "-OO", "-c", "import edgeagent.__main__, edgeagent.app"]
    subprocess.run(compiled, cwd=PROJECT, check=True)
    guest.sh(f"ln -sfn {PROJECT}/.venv /opt/kubetide")
    guest.write("/etc/systemd/system/edgeagent.service", UNIT)
    guest.write("/etc/systemd/logind.conf.d/kubetide.conf", _LOGIND)
    settings = _SETTINGS.format(node=NODE, host=HOST, port=broker.port)
    guest.write("/etc/kubetide/edgeagent.toml", settings)
    guest.write("/etc/containerd/config.toml", _CONTAINERD)
    guest.write("/etc/cni/net.d/10-pods.conflist", json.dumps(_NETWORK))
    guest.sh("systemctl daemon-reload; systemctl restart systemd-logind")
    guest.sh("systemctl enable --now containerd", within=120)
    guest.sh(f"ctr -n k8s.io images import /host{archive} >/dev/null && sync", within=300)
    guest.sh("systemctl enable --now edgeagent", within=300)


def use_registry(guest: Guest, port: int) -> None:
    """One of this machine, without TLS, that the guest's containerd may pull from."""
    place = f"{HOST}:{port}"
    text = f'[host."http://{place}"]\n  capabilities = ["pull", "resolve"]\n'
    guest.write(f"/etc/containerd/certs.d/{place}/hosts.toml", text)


@dataclass
class Cloud:
    kube: KubeClient
    view: View

    async def node_is(self, ready: str, *, within: float = 300) -> None:
        await self.view.until(
            f"node Ready={ready}",
            lambda: ready_of(self.view.nodes.get(NODE)) == ready,
            within=within,
        )

    async def create_pod(
        self, name: str, *, mounts: Sequence[Json] = (), **options: object
    ) -> None:
        whole = system.pod(name, node=NODE, **options)  # type: ignore[arg-type]
        whole["spec"]["containers"][0]["volumeMounts"] = list(mounts)
        await self.kube.create(PODS, "default", whole)

    async def delete_pod(self, name: str) -> None:
        uid = self.view.pods[name]["metadata"]["uid"]
        await self.kube.delete(PODS, "default", name, uid=uid, grace=1)

    async def ready(self, *names: str, within: float = 300) -> None:
        await self.view.until(
            f"pods {', '.join(names)} Ready",
            lambda: all(is_ready(self.view.pods.get(name)) for name in names),
            within=within,
        )

    def status_of(self, name: str) -> Json:
        """Of the only container of a pod."""
        return dict(self.view.pods[name]["status"]["containerStatuses"][0])


@asynccontextmanager
async def running_cloud(cluster: Cluster, broker: Mosquitto, folder: Path) -> AsyncIterator[Cloud]:
    kubeconfig = str(cluster.kubeconfig_path)
    kube = KubeClient(await open_access(kubeconfig), clock=SystemClock(), rng=random.Random())
    view = View(kube)
    command = ["cloudhub", "run", "--kubeconfig", kubeconfig, "--mqtt", broker.url]
    hub = Program("hub", [*command, "--metrics-listen", "127.0.0.1:0"], log=folder / "hub.log")
    await view.start()
    await hub.start()
    try:
        yield Cloud(kube, view)
    finally:
        await hub.stop()
        await view.close()
        await kube.close()


def running_of(guest: Guest, pod: str = "") -> int:
    """How many containers of a pod run, or of all pods, by what the runtime itself says."""
    wanted = 'labels."io.cri-containerd.kind"==container'
    if pod:
        wanted += f',labels."io.kubernetes.pod.name"=={pod}'
    ours = set(guest.sh(f"ctr -n k8s.io containers ls -q '{wanted}'").split())
    tasks = [line.split() for line in guest.sh("ctr -n k8s.io tasks ls").splitlines()]
    return sum(task[0] in ours and task[2] == "RUNNING" for task in tasks)


def process_of(guest: Guest, container_id: str) -> str:
    """The first process of a container, as the API names it."""
    name = container_id.rpartition("/")[2]
    tasks = [line.split() for line in guest.sh("ctr -n k8s.io tasks ls").splitlines()]
    return next(task[1] for task in tasks if task[0] == name)


def last_words(guest: Guest) -> str:
    """The end of what the agent has logged since the boot."""
    return guest.sh("journalctl --no-pager --boot --lines 60 --unit edgeagent", within=300)


def eventually_running(guest: Guest, pod: str, *, within: float = 300) -> None:
    deadline = time.monotonic() + within
    while running_of(guest, pod) != 1:
        assert time.monotonic() < deadline, last_words(guest)
        time.sleep(1)
