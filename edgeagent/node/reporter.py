"""The Node report: what the device has, and whether it is short of something.

``node_status`` is pure. ``NodeReporter`` looks every few seconds and says only what changed, so an
idle device sends nothing; no times are in it, the hub stamps what it writes. Ready is the hub's to
say; a device that shuts down, or whose runtime cannot be used, says so with a Ready condition of
its own.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeagent import KUBERNETES_VERSION, VERSION
from edgeagent.node.allocatable import allocatable, capacity
from edgeagent.node.device import Device, Readings
from edgeagent.runtime.abilities import Handler, RuntimeInfo
from edgeagent.runtime.port import Runtime
from edgeagent.session.reporting import Reports
from edgeagent.standing import StandingKeeper
from shared.clock import Clock
from shared.errors import KubetideError
from shared.objects import NO_NAMESPACE, Json, ObjectKey

KUBELET_VERSION = f"v{KUBERNETES_VERSION}.0-kubetide-{VERSION}"
LOOK_SECONDS = 10.0
DECLARED_FEATURES = (
    "InPlacePodLevelResourcesVerticalScaling",
    "InPlacePodVerticalScalingInitContainers",
    "RestartAllContainersOnContainerExits",
)
"""Without these a scheduler of Kubernetes 1.36 brings no pod that needs one, and the API server
refuses a change that does. Sorted, as the API wants them."""


def node_status(
    device: Device,
    readings: Readings,
    pressures: dict[str, bool],
    *,
    node: str,
    runtime: RuntimeInfo,
) -> Json:
    """A Node's status without what only the hub knows."""
    return {
        "capacity": capacity(device),
        "allocatable": allocatable(device),
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in readings.addresses),
            {"type": "Hostname", "address": device.hostname or node},
        ],
        "nodeInfo": {
            "machineID": device.machine_id,
            "systemUUID": device.system_uuid,
            "bootID": device.boot_id,
            "kernelVersion": device.kernel,
            "osImage": device.os_image,
            "operatingSystem": "linux",
            "architecture": device.architecture,
            "containerRuntimeVersion": f"{runtime.name}://{runtime.version}"
            if runtime.name
            else "",
            "kubeletVersion": KUBELET_VERSION,
            "kubeProxyVersion": "",
        },
        "conditions": [_condition(kind, under) for kind, under in pressures.items()],
        "declaredFeatures": list(DECLARED_FEATURES),
        **_features(runtime),
    }


def _features(runtime: RuntimeInfo) -> Json:
    """What the runtime says that it can; an old one says nothing of it."""
    found: Json = {}
    if runtime.strict_groups is not None:
        found["features"] = {"supplementalGroupsPolicy": runtime.strict_groups}
    if runtime.lists_handlers:
        found["runtimeHandlers"] = [_handler(one) for one in runtime.handlers]
    return found


def _handler(handler: Handler) -> Json:
    features = {
        "recursiveReadOnlyMounts": handler.recursive_readonly,
        "userNamespaces": handler.user_namespaces,
    }
    return {"name": handler.name, "features": features}


_WORDS = {
    "MemoryPressure": (
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    ),
    "DiskPressure": (
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    ),
    "PIDPressure": (
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
    ),
}
"""Reason and message while all is well and under pressure: the ones people and tools know."""


def _condition(kind: str, under: bool) -> Json:
    reason, message = _WORDS[kind][under]
    status = "True" if under else "False"
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _not_ready(reason: str, message: str) -> Json:
    return {"type": "Ready", "status": "False", "reason": reason, "message": message}


class NodeReporter:
    def __init__(
        self,
        node: str,
        *,
        device: Device,
        look: Callable[[], Readings],
        runtime: Runtime,
        reports: Reports,
        standing: StandingKeeper,
        clock: Clock,
        judge: Callable[[Readings], dict[str, bool]],
        changed: Callable[[Readings, RuntimeInfo, tuple[str, ...]], None],
    ) -> None:
        """``judge`` says which pressures the device is under, by their condition; ``changed`` is
        told when they, the runtime or an address of the device are other ones.
        """
        self.shutting_down: Callable[[], bool] = lambda: False
        self._node = node
        self._key = ObjectKey("Node", NO_NAMESPACE, node)
        self._device = device
        self._look = look
        self._runtime = runtime
        self._reports = reports
        self._standing = standing
        self._clock = clock
        self._judge = judge
        self._info = RuntimeInfo("", "")
        self._changed = changed
        self._told: tuple[object, ...] = ()

    async def run(self) -> None:
        while True:
            await self.report()
            await self._clock.sleep(LOOK_SECONDS)

    async def report(self) -> None:
        status = await self.status()
        within = 0.0 if self.shutting_down() else 1.0
        await self._reports.put(self._key, uid="", status=status, within=within)

    async def meet(self) -> None:
        """Have the pods layer know the runtime before anything is done with it.

        What it is decides about cgroups, handlers and refusals. Raises while it does not answer.
        """
        await self._runtime.info()
        await self.status()

    async def status(self) -> Json:
        trouble = await self._runtime_trouble()
        self._standing.update(runtime_message=trouble)
        readings = self._look()
        pressures = self._judge(readings)
        self._tell(readings, tuple(kind for kind, under in pressures.items() if under))
        status = node_status(
            *(self._device, readings, pressures),
            node=self._node,
            runtime=self._info,
        )
        if self.shutting_down():
            status["conditions"].append(_not_ready("KubeletNotReady", "node is shutting down"))
        elif trouble:
            status["conditions"].append(_not_ready("RuntimeNotReady", trouble))
        return status

    async def _runtime_trouble(self) -> str:
        """Why pods cannot be run now; empty when they can."""
        try:
            self._info = await self._runtime.info()
            ready, why = await self._runtime.network_ready()
        except KubetideError as error:
            return f"the container runtime cannot be used: {error}"
        return "" if ready else f"the pod network is not ready: {why}"

    def _tell(self, readings: Readings, pressures: tuple[str, ...]) -> None:
        now = (readings.addresses, self._info, pressures)
        if self._info.name and now != self._told:
            self._told = now
            self._changed(readings, self._info, pressures)
