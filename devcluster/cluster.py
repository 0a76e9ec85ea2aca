"""The whole system on one machine, for trying things: what ``kubetide up`` and the demo run.

API server in this process, broker, hub and agent as the real programs in children. The agent
reaches the broker through a switch, so that its link can be cut. Containers run on a private
containerd when there is one and we are root, otherwise as host processes, which is said aloud.
Everything lives in one temporary folder; ``close`` leaves no process, mount or file.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from cloudhub.kube.access import open_access
from cloudhub.kube.client import KubeClient
from cloudhub.kube.port import NODES
from devcluster.apiserver import ApiServer
from devcluster.broker import EmbeddedBroker
from devcluster.containerd import Containerd, why_not
from devcluster.images import BUSYBOX, build_busybox
from devcluster.processes import Program
from devcluster.switch import Switch
from edgeagent.pods.volumes import removing
from edgeagent.runtime.opening import open_runtime
from edgeagent.runtime.port import Runtime
from shared.clock import SystemClock

NODE = "edge-1"
Say = Callable[[str], None]


class DevCluster:
    def __init__(self, say: Say, *, api_port: int = 0) -> None:
        self._say = say
        self.folder = Path(tempfile.mkdtemp(prefix="kubetide-"))
        self.api = ApiServer(port=api_port)
        self.broker = EmbeddedBroker()
        self.switch = Switch("127.0.0.1", self.broker.port)
        self.containerd: Containerd | None = None
        self.runtime = ""
        self.kube: KubeClient
        self.hub: Program
        self.agent: Program

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def device(self) -> Path:
        """The data directory of the device."""
        return self.folder / "device"

    async def start(self) -> None:
        """Returns when the node is Ready in the API."""
        await self._start_cloud()
        await self._start_device()
        await self._until_ready()

    async def close(self) -> None:
        for program in (getattr(self, "agent", None), getattr(self, "hub", None)):
            if program is not None:
                await program.stop()
        await self._end_processes()
        await self.switch.close()
        if hasattr(self, "kube"):
            await self.kube.close()
        await self.api.stop()
        self.broker.close()
        if self.containerd is not None:
            await asyncio.to_thread(self.containerd.close)
        try:
            # Pods leave mounts in it, also of the machine's own folders: never through those.
            await asyncio.to_thread(removing.remove, self.folder)
        except removing.StillMounted as error:
            self._say(f"{self.folder} is left: {error}")

    def check(self) -> None:
        """Raise RuntimeError with the end of its log when a program has ended by itself."""
        self.hub.check()
        self.agent.check()

    async def _start_cloud(self) -> None:
        self._say("starting the API server, the MQTT broker and the hub")
        await self.api.start()
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(self.api.kubeconfig())
        access = await open_access(str(self.kubeconfig))
        self.kube = KubeClient(access, clock=SystemClock(), rng=random.Random())
        await asyncio.to_thread(self.broker.start)
        await self.switch.start()
        self.hub = Program(
            "hub",
            [
                *("cloudhub", "run", "--kubeconfig", str(self.kubeconfig)),
                *("--mqtt", self.broker.url, "--metrics-listen", "127.0.0.1:0"),
            ],
            log=self.folder / "hub.log",
        )
        await self.hub.start()

    async def _start_device(self) -> None:
        self.runtime = await self._choose_runtime()
        self._say(f"starting the agent of device {NODE}")
        self.agent = Program(
            "agent",
            [
                *("edgeagent", "run", "--node-name", NODE, "--runtime", self.runtime),
                *("--mqtt", f"mqtt://127.0.0.1:{self.switch.port}"),
                *("--data-dir", str(self.device), "--log-dir", str(self.folder / "logs")),
            ],
            log=self.folder / "agent.log",
        )
        await self.agent.start()

    async def _choose_runtime(self) -> str:
        if reason := why_not():
            self._say(f"no containers here ({reason}): pods run as plain processes of this machine")
            return "process"
        self._say("starting a private containerd")
        self.containerd = Containerd()
        await asyncio.to_thread(self.containerd.start)
        archive = await asyncio.to_thread(build_busybox, self.folder)
        await asyncio.to_thread(self.containerd.import_images, archive)
        self._say(f"images on the device: {BUSYBOX}")
        return f"cri:{self.containerd.address}"

    async def _until_ready(self) -> None:
        async with asyncio.timeout(60):
            while not await self.node_is("True"):
                self.check()
                await asyncio.sleep(0.1)

    async def node_is(self, status: str) -> bool:
        """Whether the Node's Ready condition has this status (True, False, Unknown)."""
        node = await self.kube.get(NODES, "", NODE)
        conditions = (node or {}).get("status", {}).get("conditions") or []
        return any(one["type"] == "Ready" and one["status"] == status for one in conditions)

    async def device_runtime(self) -> Runtime:
        """A second client of the device's container runtime; the caller closes it."""
        return open_runtime(self.runtime, data_dir=self.device, clock=SystemClock())

    async def _end_processes(self) -> None:
        """The agent leaves pods running on purpose; host processes have nobody else to end them."""
        if self.runtime != "process":
            return
        runtime = await self.device_runtime()
        try:
            for sandbox in await runtime.list_sandboxes():
                await runtime.stop_sandbox(sandbox.id)
                await runtime.remove_sandbox(sandbox.id)
        finally:
            await runtime.close()
