"""Starting sandboxes and containers: what they wait for, their creation, the postStart hook.

Called by ``act.py``, which turns every failure into a trouble of the action's slot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import structlog

from edgeagent.pods.acting.hooks import HookFailed, PodHooks
from edgeagent.pods.acting.turns import Start, Turns
from edgeagent.pods.live import LivePod
from edgeagent.pods.materials.sandboxes import LIST_REVISION, handler_of
from edgeagent.pods.model import specs
from edgeagent.pods.model.actions import StartContainer, StartSandbox
from edgeagent.pods.model.causes import Cause
from edgeagent.pods.model.errors import ConfigError, PodTrouble
from edgeagent.pods.model.podevents import normal, warning
from edgeagent.pods.observing import Observer
from edgeagent.pods.ports import Materials
from edgeagent.pods.resources import amounts
from edgeagent.runtime.port import Runtime, RuntimeAway
from shared.errors import KubetideError
from shared.joining import Joint
from shared.objects import Json

log = structlog.get_logger()

_STARTS_AT_ONCE = 4
"""Sandboxes and containers that are being started at the same time, of all pods."""
_THROTTLED_AT_ONCE = 16
"""And of those that the kernel slows down besides: they wait for it, and need little of the CPU."""
_LITTLE_CPU = Fraction(1, 10)
"""Cores below which a limit on CPU makes a start slower: it holds for what prepares a container."""
_NETWORK_HOLDS = 5.0
"""Seconds for which a network that was there is not asked for again; a kubelet looks as often."""
_SERVICES_PATIENCE = 3.0
"""Seconds that a container waits for Services that are on their way."""


class Starting:
    def __init__(
        self,
        *,
        runtime: Runtime,
        materials: Materials,
        observer: Observer,
        hooks: PodHooks,
        revision: Callable[[], int],
    ) -> None:
        """``revision`` is that of the list that pods are started by."""
        self._runtime = runtime
        self._materials = materials
        self._observer = observer
        self._hooks = hooks
        self._revision = revision
        self._turns = Turns(_STARTS_AT_ONCE)
        self._turns_of_throttled = Turns(_THROTTLED_AT_ONCE)
        self._network = Joint(runtime.network_ready, name="look at the network")
        self._network_holds = 0.0
        self._news = asyncio.Event()

    def desired_changed(self) -> None:
        """Who waits for a Service looks whether it has come."""
        self._news.set()
        self._news = asyncio.Event()

    async def close(self) -> None:
        await self._network.close()

    async def start_sandbox(self, pod: LivePod, action: StartSandbox) -> None:
        await self._need_network(pod)
        if pod.sandboxes:
            words = "Pod sandbox changed, it will be killed and re-created."
            pod.events.record(normal("SandboxChanged", words))
        config = self._materials.sandbox(
            pod.pod,
            attempt=action.attempt,
            seen=pod.facts.started_at,
            first_id=pod.facts.first_id,
            record=pod.events.record,
        )
        await self._materials.before_sandbox(pod.pod, pod.events.record)
        under = {LIST_REVISION: str(self._revision())}
        config = replace(config, annotations={**config.annotations, **under})
        async with self._turns_for(pod).take(Start.SANDBOX):
            sandbox_id = await self._runtime.start_sandbox(config)
        await self._observer.see(pod, sandbox_id, new=True)

    def _turns_for(self, pod: LivePod, spec: Json | None = None) -> Turns:
        """Of a sandbox without ``spec``, of one of its containers with it."""
        limits = [amounts.whole_limit(pod.pod, "cpu")]
        if spec is not None:
            limits.append(amounts.of(spec, "limits").get("cpu", Fraction(0)))
        throttled = any(0 < limit < _LITTLE_CPU for limit in limits)
        return self._turns_of_throttled if throttled else self._turns

    async def _need_network(self, pod: LivePod) -> None:
        """CRI-O would wait for it with a turn in its hands, and the pods that bring it, on the
        device's own network, would never have theirs."""
        now = asyncio.get_running_loop().time()
        if specs.on_host_network(pod.pod) or now < self._network_holds:
            return
        ready, why = await self._network.ask()
        if ready:
            self._network_holds = now + _NETWORK_HOLDS
        else:
            words = f"network is not ready: {why}"
            raise PodTrouble("ContainerCreating", words, event="NetworkNotReady")

    async def start_container(self, pod: LivePod, action: StartContainer) -> None:
        spec = pod.spec_of(action.name)
        path = specs.field_path(pod.pod, action.name)
        try:
            container_id = await self._create(pod, action, spec)
        except KubetideError:
            # It may be the image that is gone since: look for it again.
            pod.images.pop(action.name, None)
            raise
        pod.events.record(normal("Created", "Container created", field_path=path))
        # A restart goes by the pull policy again.
        pod.images.pop(action.name, None)
        try:
            await self._begin(pod, spec, container_id)
        except BaseException:
            await self._observer.see_container(pod, action.sandbox_id, container_id)
            raise
        await self._see_running(pod, action.sandbox_id, container_id)
        pod.events.record(normal("Started", "Container started", field_path=path))
        await self._materials.link_log(
            pod.pod, action.name, attempt=action.attempt, container_id=container_id
        )
        hook = (spec.get("lifecycle") or {}).get("postStart")
        if hook:
            pod.wake()
            await self._post_start(pod, spec, hook=hook, container_id=container_id)

    async def _begin(self, pod: LivePod, spec: Json, container_id: str) -> None:
        try:
            async with self._turns_for(pod, spec).take(Start.CONTAINER):
                await self._runtime.start_container(container_id)
        except RuntimeAway:
            raise
        except KubetideError as error:
            raise PodTrouble("RunContainerError", str(error)) from error

    async def _see_running(self, pod: LivePod, sandbox_id: str, container_id: str) -> None:
        """It has begun, and what comes after a beginning is not to be left out because a question
        had no answer: the pod's next look asks again."""
        try:
            await self._observer.see_container(pod, sandbox_id, container_id)
        except KubetideError as error:
            log.warning("started container not seen", container_id=container_id, error=str(error))
            self._observer.changed(pod.uid)

    async def _create(self, pod: LivePod, action: StartContainer, spec: Json) -> str:
        await self._await_services(pod)
        sandbox = next(one for one in pod.sandboxes if one.id == action.sandbox_id)
        config = await self._materials.container(
            pod.pod,
            spec,
            attempt=action.attempt,
            image=pod.images[action.name][1],
            ips=sandbox.ips,
            record=pod.events.record,
            handler=handler_of(sandbox),
        )
        config = replace(config, processes_of=_target_of(pod, spec))
        around = self._materials.sandbox(
            pod.pod,
            attempt=sandbox.attempt,
            seen=pod.facts.started_at,
            first_id=pod.facts.first_id,
            record=lambda event: None,
            handler=handler_of(sandbox),
        )
        async with self._turns_for(pod, spec).take(Start.CONTAINER):
            return await self._runtime.create_container(action.sandbox_id, around, config)

    async def _await_services(self, pod: LivePod) -> None:
        """Not for ever: offline they may never come, and a pod without their variables runs."""
        try:
            async with asyncio.timeout(_SERVICES_PATIENCE):
                while self._materials.awaits_services(pod.pod):
                    await self._news.wait()
        except TimeoutError:
            words = "started without the variables of Services that have not come yet"
            pod.events.record(warning("MissingServices", words))

    async def _post_start(self, pod: LivePod, spec: Json, *, hook: Json, container_id: str) -> None:
        """A container whose hook fails is killed, and goes by its restart policy."""
        try:
            await self._hooks.run(pod, hook, spec=spec, container_id=container_id)
        except HookFailed as error:
            path = specs.field_path(pod.pod, spec["name"])
            words = "PostStartHook failed"
            pod.events.record(warning("FailedPostStartHook", words, field_path=path))
            pod.unhealthy[container_id] = Cause.HOOK
            raise PodTrouble("PostStartHookError", str(error), event="", delay=0.0) from error


def _target_of(pod: LivePod, spec: Json) -> str:
    """Id of the container that an ephemeral container looks into, if it names one.

    Of one that has ended the runtime says that there is nothing to join.
    """
    name = spec.get("targetContainerName")
    if not name:
        return ""
    known = pod.facts.container(name)
    if known is None or all(one.id != known.id for one in pod.containers()):
        raise ConfigError(f"unable to find target container {name}")
    return known.id
