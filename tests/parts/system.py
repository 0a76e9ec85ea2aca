"""The whole system on real parts: API server, mosquitto, containerd, hub and agent as programs.

What an end-to-end test or a benchmark holds in its hands: every part can be cut off, killed and
started again, pods are made and watched through the API as a user would. The link of the agent to
the broker goes through a switch, so a test can pull the cable.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cloudhub.kube.access import open_access
from cloudhub.kube.client import KubeClient
from cloudhub.kube.port import PODS, Resource
from devcluster.containerd import Containerd
from devcluster.processes import Program
from devcluster.switch import Switch
from edgeagent.pods.volumes import removing
from edgeagent.store import FILE
from shared import codec
from shared.clock import SystemClock
from shared.objects import Json
from tests.parts import images
from tests.parts.bad_link import BadLink
from tests.parts.mosquitto import Mosquitto
from tests.parts.patience import PATIENCE
from tests.parts.ports import free_port
from tests.parts.view import View, is_ready, ready_of

NODE = "edge-1"


@dataclass
class System:
    """One of everything, running; made by ``running_system``."""

    folder: Path
    kubeconfig: str
    kube: KubeClient
    view: View
    broker: Mosquitto
    containerd: Containerd
    switch: Switch
    hub: Program
    agent: Program
    metrics_port: int
    node: str = NODE
    data: Path = field(kw_only=True)
    """The device's data directory."""

    async def node_is(self, ready: str, *, within: float = 60.0) -> None:
        """Wait until the Node's Ready condition has this status."""
        self.agent.check()
        self.hub.check()
        try:
            await self.view.until(
                f"node {self.node} Ready={ready}",
                lambda: ready_of(self.view.nodes.get(self.node)) == ready,
                within=within,
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.last_words()}") from None

    async def create_pod(self, name: str, **options: object) -> Json:
        return await self.create(PODS, pod(name, node=self.node, **options))  # type: ignore[arg-type]

    async def create(self, resource: Resource, obj: Json) -> Json:
        return await self.kube.create(resource, obj["metadata"].get("namespace", "default"), obj)

    async def delete_pod(self, name: str, *, grace: int | None = None) -> None:
        """As kubectl delete does: with the pod's own grace period unless one is given."""
        found = await self.kube.get(PODS, "default", name)
        assert found is not None, f"pod {name} is not there"
        seconds = found["spec"]["terminationGracePeriodSeconds"] if grace is None else grace
        await self.kube.delete(PODS, "default", name, uid=found["metadata"]["uid"], grace=seconds)

    async def running(self, *names: str, within: float = 60.0) -> None:
        await self.view.until(
            f"pods {', '.join(names)} Ready",
            lambda: all(is_ready(self.view.pods.get(name)) for name in names),
            within=within,
        )

    async def gone(self, *names: str, within: float = 60.0) -> None:
        await self.view.until(
            f"pods {', '.join(names)} gone",
            lambda: not any(name in self.view.pods for name in names),
            within=within,
        )

    def last_words(self) -> str:
        """The ends of both logs, for a failure's message."""
        tails = [
            f"--- {program.name}:\n{program.log.read_text(errors='replace')[-1500:]}"
            for program in (self.hub, self.agent)
        ]
        return "\n".join(tails)

    def container_ids(self) -> set[str]:
        """What containerd has now, sandboxes included."""
        return set(self.containerd.ctr("containers", "list", "--quiet").split())

    def running_ids(self) -> set[str]:
        lines = self.containerd.ctr("tasks", "list").splitlines()[1:]
        return {line.split()[0] for line in lines if "RUNNING" in line}

    async def only_run(self, *names: str, within: float = 60.0) -> None:
        """Wait until containerd runs these pods of one container each, with their sandboxes, and
        no other: a sandbox ends after its pod is gone."""
        seen: set[str] = set()
        try:
            async with asyncio.timeout(within * PATIENCE):
                while len(seen := self.running_ids()) != 2 * len(names):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"not within {within} s: only {names}; there are {seen}") from None

    async def stores(self, key: str, text: str, *, within: float = 60.0) -> None:
        """Wait until the device has this text in what it stored of an object."""
        async with asyncio.timeout(within * PATIENCE):
            while not any(text in str(codec.unpack(body)) for body in self._bodies(key)):
                await asyncio.sleep(0.1)

    async def in_step(self, *, within: float = 60.0) -> None:
        """Wait until the device's stored pods are those of the API, and only these run."""
        seen: object = None
        try:
            async with asyncio.timeout(within * PATIENCE):
                while seen := self._out_of_step():
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"not in step within {within} s: {seen}") from None

    def _out_of_step(self) -> object:
        """What differs; empty when nothing does."""
        mine = [one for one in self.view.pods.values() if one["spec"].get("nodeName") == self.node]
        asked, stored = sorted(map(_essence, mine)), sorted(map(_essence, self._stored_pods()))
        if asked != stored:
            return {"the API": asked, "the device": stored}
        live = [one for one in mine if one["status"].get("phase") not in ("Succeeded", "Failed")]
        tasks = sum(1 + len(one["spec"]["containers"]) for one in live)
        running = len(self.running_ids())
        return {} if running == tasks else {"tasks wanted": tasks, "running": running}

    def _stored_pods(self) -> list[Json]:
        return [codec.unpack(body) for body in self._bodies("Pod/%")]

    def _bodies(self, key: str) -> list[bytes]:
        """As the device has stored them, of the objects in its list; % stands for anything."""
        database = sqlite3.connect(f"file:{self.data / FILE}?mode=ro", uri=True)
        try:
            bodies = "SELECT body FROM bodies JOIN inventory USING (key) WHERE key LIKE ?"
            return [body for (body,) in database.execute(bodies, (key,))]
        finally:
            database.close()

    def kill_container(self, container_id: str) -> None:
        """SIGKILL from outside, as the kernel or a person would."""
        bare = container_id.removeprefix("containerd://")
        self.containerd.ctr("tasks", "kill", "--signal", "SIGKILL", bare)

    async def edgeagent(self, *arguments: str) -> str:
        """A command of the device's own CLI, for instance ``pods``."""
        code, said = await self._edgeagent(*arguments)
        assert code == 0, said
        return said

    async def _edgeagent(self, *arguments: str) -> tuple[int | None, str]:
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edgeagent", *arguments, "--data-dir", str(self.data)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await program.communicate()
        return program.returncode, out.decode()

    async def status_says(self, *words: str, within: float = 90.0) -> str:
        """Wait until ``edgeagent status`` has all of these words; answers the whole of it."""
        said = ""
        try:
            async with asyncio.timeout(within * PATIENCE):
                while True:
                    _, said = await self._edgeagent("status")
                    if all(one in said for one in words):
                        return said
                    await asyncio.sleep(0.3)
        except TimeoutError:
            absent = [one for one in words if one not in said]
            raise AssertionError(
                f"not said within {within} s: {absent}\n{said}\n{self.last_words()}"
            ) from None


def _essence(pod: Json) -> tuple[str, ...]:
    """What tells one version of a pod from another one, as far as a device cares."""
    metadata, images = pod["metadata"], [one["image"] for one in pod["spec"]["containers"]]
    notes = sorted((metadata.get("annotations") or {}).items())
    return (metadata["name"], metadata["uid"], str(notes), *images)


def pod(
    name: str,
    *,
    node: str = NODE,
    command: Sequence[str] = ("sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"),
    image: str = images.BUSYBOX,
    grace: int = 5,
    **spec: object,
) -> Json:
    """A one-container pod that ends at once on SIGTERM; ``spec`` goes over the PodSpec."""
    container = {
        "name": "main",
        "image": image,
        "command": list(command),
        "imagePullPolicy": "IfNotPresent",
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": grace,
            "automountServiceAccountToken": False,
            "containers": [container],
            **spec,
        },
    }


@asynccontextmanager
async def running_system(
    *,
    kubeconfig: str,
    broker: Mosquitto,
    containerd: Containerd,
    node: str = "",
    hub_options: Sequence[str] = (),
    agent_options: Sequence[str] = (),
    direct: bool = False,
    agent_env: Mapping[str, str] | None = None,
    bad_link: BadLink | None = None,
    data: Path | None = None,
) -> AsyncIterator[System]:
    """Hub and agent against the given parts; ends with no pod of the node left anywhere.

    ``data``: where the device keeps its own, when that must be somewhere of the caller's.

    ``direct``: the agent connects to the broker's device port without the switch between.
    ``bad_link``: the agent's program runs at its far end; the broker must listen at the near one.
    """
    folder = Path(tempfile.mkdtemp(prefix="kts-"))
    node = node or f"edge-{uuid.uuid4().hex[:6]}"
    data = data or folder / "device"
    kube = KubeClient(await open_access(kubeconfig), clock=SystemClock(), rng=random.Random())
    view, switch, metrics_port = View(kube), Switch("127.0.0.1", broker.port), free_port()
    await view.start()
    await switch.start()
    url = broker.url
    trust = ["--mqtt-ca", str(broker.settings.tls.ca)] if broker.settings.tls else []
    hub = Program(
        "hub",
        [
            *("cloudhub", "run", "--kubeconfig", kubeconfig, "--mqtt", url),
            *("--metrics-listen", f"127.0.0.1:{metrics_port}", *trust, *hub_options),
        ],
        log=folder / "hub.log",
    )
    device_url = url.replace(f":{broker.port}", f":{switch.port}")
    if direct or bad_link is not None:
        device_url = url.replace(f"127.0.0.1:{broker.port}", broker.device_place)
    agent = Program(
        "agent",
        [
            *("edgeagent", "run", "--node-name", node, "--mqtt", device_url),
            *("--data-dir", str(data), "--runtime", f"cri:{containerd.address}"),
            *("--log-dir", str(folder / "logs"), *trust, *agent_options),
        ],
        log=folder / "agent.log",
        env=agent_env,
        through=bad_link.enter if bad_link else (),
    )
    system = System(
        *(folder, kubeconfig, kube, view, broker, containerd, switch, hub, agent, metrics_port),
        node=node,
        data=data,
    )
    try:
        await hub.start()
        await agent.start()
        yield system
    finally:
        await _end(system)


async def _end(system: System) -> None:
    """Stop everything; on the way out nothing may hide the test's own error."""
    if os.environ.get("KUBETIDE_KEEP"):
        print(f"kept: {system.folder}")
    await asyncio.gather(system.agent.stop(), system.hub.stop())
    await system.switch.close()
    await system.view.close()
    for one in list(system.view.pods.values()):
        if one["spec"].get("nodeName") == system.node:
            metadata = one["metadata"]
            with contextlib.suppress(Exception):
                await system.kube.delete(
                    PODS, metadata["namespace"], metadata["name"], uid=metadata["uid"], grace=0
                )
    await system.kube.close()
    await asyncio.to_thread(system.containerd.remove_pods)
    if not os.environ.get("KUBETIDE_KEEP"):
        with contextlib.suppress(removing.StillMounted):
            removing.remove(system.folder)
