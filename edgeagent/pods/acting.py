"""Carries out the actions of a plan, each as an operation beside the pod's worker.

Owns the calls to the runtime and to the materials, the Events that go with them, and the growing
waits after a failure. It decides nothing: whatever happens is written into the ``LivePod`` and
the planner looks again. Called by ``workers.py`` only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from edgeagent.pods import resizing, restarting, specs
from edgeagent.pods.actions import (
    Action,
    EnsureImage,
    PrepareVolumes,
    RefreshVolumes,
    RemoveContainer,
    RemoveSandbox,
    RemoveVolumes,
    ResizeContainer,
    RunPreStop,
    StartContainer,
    StartSandbox,
    StopContainer,
    StopSandbox,
)
from edgeagent.pods.draft import MINIMUM_GRACE
from edgeagent.pods.errors import SANDBOX_FAILED, ConfigError, PodTrouble
from edgeagent.pods.handlers import Target
from edgeagent.pods.hooks import HookFailed, Hooks
from edgeagent.pods.live import LivePod
from edgeagent.pods.observing import Observer
from edgeagent.pods.planning_clean import VOLUMES
from edgeagent.pods.podevents import normal, warning
from edgeagent.pods.ports import Materials
from edgeagent.pods.sandboxes import LIST_REVISION
from edgeagent.pods.view import Trouble
from edgeagent.runtime.port import Container, Runtime, RuntimeAway
from shared.clock import Clock
from shared.errors import KubetideError, TemporaryError
from shared.objects import Json

log = structlog.get_logger()

_FIRST_RETRY, _MOST_RETRY = 0.5, 10.0
_STARTS_AT_ONCE = 4
"""Sandboxes and containers that are being started at the same time, of all pods."""
_SERVICES_PATIENCE, _SERVICES_LOOK = 3.0, 0.05
"""Seconds that a container waits for Services that are on their way, and between two looks."""


_BEGINNINGS = {"Failed": "Error: ", SANDBOX_FAILED: "Failed to create pod sandbox: "}
"""Of messages, by the reason of the Event."""


class Acting:
    def __init__(
        self,
        *,
        runtime: Runtime,
        materials: Materials,
        observer: Observer,
        clock: Clock,
        revision: Callable[[], int],
        node_ips: Callable[[], tuple[str, ...]],
    ) -> None:
        """``revision`` is that of the list that pods are started by."""
        self._runtime = runtime
        self._materials = materials
        self._observer = observer
        self._clock = clock
        self._revision = revision
        self._node_ips = node_ips
        self._hooks = Hooks(runtime, clock)
        self._starting = asyncio.Semaphore(_STARTS_AT_ONCE)

    def begin(self, pod: LivePod, action: Action) -> None:
        pod.operations.begin(action, lambda: self._guarded(pod, action))

    async def _guarded(self, pod: LivePod, action: Action) -> None:
        """Every failure becomes a trouble of the action's slot; the planner waits it out."""
        try:
            await self._act(pod, action)
        except KubetideError as error:
            self._trouble(pod, action, error)
        except OSError as error:
            self._trouble(pod, action, TemporaryError(_words(error)))
        except Exception as error:
            log.exception("action failed", pod_uid=pod.uid, action=action.slot)
            self._trouble(pod, action, TemporaryError(f"internal error: {error!r}"))
        else:
            pod.troubles.pop(action.slot, None)

    async def _act(self, pod: LivePod, action: Action) -> None:
        match action:
            case PrepareVolumes():
                pod.volumes_stale = False
                await self._materials.prepare(pod.pod)
                pod.volumes_ready = True
            case RefreshVolumes():
                pod.volumes_stale = False
                await self._materials.refresh(pod.pod)
            case StartSandbox():
                await self._start_sandbox(pod, action)
            case EnsureImage():
                container = {**_spec(pod, action.name), "image": action.image}
                image = await self._materials.image(pod.pod, container, pod.events.record)
                pod.images[action.name] = action.image, image
            case StartContainer():
                await self._start_container(pod, action)
            case RunPreStop():
                await self._pre_stop(pod, action)
            case StopContainer():
                await self._stop_container(pod, action)
            case ResizeContainer():
                await self._resize(pod, action)
            case _:
                await self._clean(pod, action)

    async def _clean(self, pod: LivePod, action: Action) -> None:
        match action:
            case RemoveContainer():
                await self._remove_container(pod, action.container_id)
            case StopSandbox():
                await self._runtime.stop_sandbox(action.sandbox_id)
                pod.cleaned.add(action.sandbox_id)
                await self._look(pod, action.sandbox_id)
            case RemoveSandbox():
                await self._runtime.remove_sandbox(action.sandbox_id)
                await self._look(pod, action.sandbox_id)
                pod.cleaned.discard(action.sandbox_id)
            case RemoveVolumes():
                await self._materials.remove(pod.pod)
                pod.volumes_ready = False
                pod.cleaned.add(VOLUMES)

    async def _remove_container(self, pod: LivePod, container_id: str) -> None:
        """Files first: as long as the container is there, a crash repeats this."""
        for one in _containers(pod):
            if one.id == container_id:
                await self._materials.remove_files(pod.pod, one)
        await self._runtime.remove_container(container_id)
        await self._look(pod, _home(pod, container_id))

    async def _start_sandbox(self, pod: LivePod, action: StartSandbox) -> None:
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
        under = {LIST_REVISION: str(self._revision())}
        config = replace(config, annotations={**config.annotations, **under})
        async with self._starting:
            sandbox_id = await self._runtime.start_sandbox(config)
        pod.cleaned.discard(VOLUMES)
        await self._look(pod, sandbox_id)

    async def _start_container(self, pod: LivePod, action: StartContainer) -> None:
        spec = _spec(pod, action.name)
        path = specs.field_path(pod.pod, action.name)
        try:
            container_id = await self._create(pod, action, spec)
        except KubetideError:
            # It may be the image that is gone since: look for it again.
            pod.images.pop(action.name, None)
            raise
        pod.events.record(normal("Created", f"Created container: {action.name}", field_path=path))
        # A restart goes by the pull policy again.
        pod.images.pop(action.name, None)
        try:
            await self._runtime.start_container(container_id)
        except RuntimeAway:
            raise
        except KubetideError as error:
            raise PodTrouble("RunContainerError", str(error)) from error
        finally:
            await self._look(pod, action.sandbox_id)
        pod.events.record(normal("Started", f"Started container {action.name}", field_path=path))
        hook = (spec.get("lifecycle") or {}).get("postStart")
        if hook:
            pod.wake()
            await self._post_start(pod, spec, hook=hook, container_id=container_id)

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
        )
        config = replace(config, processes_of=_target_of(pod, spec))
        around = self._materials.sandbox(
            pod.pod,
            attempt=sandbox.attempt,
            seen=pod.facts.started_at,
            first_id=pod.facts.first_id,
            record=lambda event: None,
        )
        async with self._starting:
            return await self._runtime.create_container(action.sandbox_id, around, config)

    async def _await_services(self, pod: LivePod) -> None:
        """Not for ever: offline they may never come, and a pod without their variables runs."""
        until = self._clock.monotonic() + _SERVICES_PATIENCE
        while self._materials.awaits_services(pod.pod):
            if self._clock.monotonic() >= until:
                words = "started without the variables of Services that have not come yet"
                pod.events.record(warning("MissingServices", words))
                return
            await self._clock.sleep(_SERVICES_LOOK)

    async def _post_start(self, pod: LivePod, spec: Json, *, hook: Json, container_id: str) -> None:
        """A container whose hook fails is killed, and goes by its restart policy."""
        try:
            await self._run_hook(pod, hook, spec=spec, container_id=container_id)
        except HookFailed as error:
            path = specs.field_path(pod.pod, spec["name"])
            words = "PostStartHook failed"
            pod.events.record(warning("FailedPostStartHook", words, field_path=path))
            pod.unhealthy[container_id] = "hook"
            raise PodTrouble("PostStartHookError", str(error), event="", delay=0.0) from error

    async def _run_hook(self, pod: LivePod, hook: Json, *, spec: Json, container_id: str) -> None:
        ips = self._node_ips() if specs.on_host_network(pod.pod) else pod.facts.ips
        target = Target(spec, container_id, ips)
        await self._hooks.run(hook, pod=pod.pod, target=target, record=pod.events.record)

    async def _stop_container(self, pod: LivePod, action: StopContainer) -> None:
        grace = max(action.deadline - self._clock.monotonic(), 0.0)
        self._announce(pod, action.name, action.container_id, _why(pod, action))
        if action.hook:
            await self._pre_stop(pod, action)
        left = action.deadline - self._clock.monotonic()
        least = min(MINIMUM_GRACE, grace)
        await self._runtime.stop_container(action.container_id, max(left, least))
        await self._look(pod, _home(pod, action.container_id))

    async def _pre_stop(self, pod: LivePod, action: StopContainer | RunPreStop) -> None:
        """Once for each container, and for no longer than it may take to stop."""
        spec = _spec(pod, action.name)
        hook = (spec.get("lifecycle") or {}).get("preStop")
        seconds = action.deadline - self._clock.monotonic()
        if not hook or seconds <= 0:
            return
        self._announce(pod, action.name, action.container_id, f"Stopping container {action.name}")
        try:
            running = self._run_hook(pod, hook, spec=spec, container_id=action.container_id)
            await asyncio.wait_for(running, seconds)
        except (HookFailed, TimeoutError) as error:
            log.info("preStop hook failed", pod_uid=pod.uid, error=str(error) or "out of time")
            path = specs.field_path(pod.pod, action.name)
            words = "PreStopHook failed"
            pod.events.record(warning("FailedPreStopHook", words, field_path=path))
        pod.hooked.add(action.container_id)

    def _announce(self, pod: LivePod, name: str, container_id: str, words: str) -> None:
        if container_id not in pod.announced:
            pod.announced.add(container_id)
            path = specs.field_path(pod.pod, name)
            if pod.events.record(normal("Killing", words, field_path=path)):
                pod.wake()

    async def _resize(self, pod: LivePod, action: ResizeContainer) -> None:
        spec = _spec(pod, action.name)
        resources = self._materials.resources(pod.pod, spec)
        await self._check_usage(pod, action, resources.memory_limit_bytes)
        await self._materials.limit_pod(pod.pod, only_wider=True)
        await self._runtime.update_resources(action.container_id, resources)
        await self._materials.limit_pod(pod.pod)
        known = pod.facts.container(action.name)
        if known is not None and known.id == action.container_id:
            resized = replace(known, resources=spec.get("resources") or {})
            pod.facts = pod.facts.with_container(action.name, resized)

    async def _check_usage(self, pod: LivePod, action: ResizeContainer, limit: int) -> None:
        """A kernel would kill for memory what uses more than a limit that became lower."""
        known = pod.facts.container(action.name)
        before = {"name": action.name, "resources": known.resources if known else {}}
        had = self._materials.resources(pod.pod, before).memory_limit_bytes
        if not limit or 0 < had <= limit:
            return
        for one in await self._runtime.stats():
            if one.container_id == action.container_id and one.memory_usage_bytes > limit:
                raise TemporaryError(
                    f'attempting to set container "{action.name}" memory limit ({limit})'
                    f" below current usage ({one.memory_usage_bytes})"
                )

    async def _look(self, pod: LivePod, sandbox_id: str) -> None:
        if sandbox_id:
            await self._observer.inspect(pod.uid, sandbox_id)
            pod.sandboxes = await self._observer.look(pod.uid)

    def _trouble(self, pod: LivePod, action: Action, error: KubetideError) -> None:
        self._observer.changed(pod.uid)
        before = pod.troubles.get(action.slot)
        failures = (before.failures if before else 0) + 1
        delay = error.delay if isinstance(error, TemporaryError) else None
        if delay is None:
            delay = min(_FIRST_RETRY * 2**failures, _MOST_RETRY)
        reason = "" if isinstance(error, RuntimeAway) else _reason(action, error)
        trouble = Trouble(reason, str(error), self._clock.monotonic() + delay, failures)
        pod.troubles[action.slot] = trouble
        log.warning(
            "action failed",
            pod_uid=pod.uid,
            action=action.slot,
            error=str(error),
            retry_in=round(delay, 1),
        )
        self._tell(pod, action, error)

    def _tell(self, pod: LivePod, action: Action, error: KubetideError) -> None:
        path = specs.field_path(pod.pod, getattr(action, "name", ""))
        if isinstance(error, PodTrouble):
            if error.event:
                words = f"{_BEGINNINGS.get(error.event, '')}{error}"
                pod.events.record(warning(error.event, words, field_path=path))
        elif isinstance(error, RuntimeAway):
            return
        elif isinstance(action, StartSandbox):
            words = f"{_BEGINNINGS[SANDBOX_FAILED]}{error}"
            pod.events.record(warning(SANDBOX_FAILED, words))
        elif isinstance(action, ResizeContainer):
            pod.events.record(resizing.failed(pod.pod, str(error)))
        elif isinstance(action, StartContainer):
            pod.events.record(warning("Failed", f"Error: {error}", field_path=path))


def _reason(action: Action, error: KubetideError) -> str:
    if isinstance(error, PodTrouble):
        return error.reason
    if isinstance(action, StartContainer):
        return "CreateContainerError"
    return "ContainerCreating"


def _why(pod: LivePod, action: StopContainer) -> str:
    """In the words of the Event ``Killing``."""
    name, container = action.name, _spec(pod, action.name)
    init = any(container is one for one in specs.inits(pod.pod))
    subject = f"{'Init container' if init else 'Container'} {name}"
    if action.cause == "hook":
        return "FailedPostStartHook"
    if action.cause == "resize":
        return f"Container {name} resize requires restart, will be restarted"
    if action.cause in restarting.REPLACED:
        return f"{subject} definition changed{'' if init else ', will be restarted'}"
    if action.cause in restarting.KILLED_BY_PROBE:
        again = not init and restarting.policy_of(pod.pod, container) != "Never"
        return f"{subject} failed {action.cause} probe{', will be restarted' if again else ''}"
    return f"Stopping container {name}"


def _words(error: OSError) -> str:
    """A full disk has no file to name, where it was already open."""
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}"


def _spec(pod: LivePod, name: str) -> Json:
    """A container that the pod no longer names can still be stopped."""
    return specs.container_named(pod.pod, name) or {"name": name}


def _target_of(pod: LivePod, spec: Json) -> str:
    """Id of the container that an ephemeral container looks into, if it names one."""
    name = spec.get("targetContainerName")
    if not name:
        return ""
    known = pod.facts.container(name)
    if known is None or known.ended is not None:
        raise ConfigError(f"unable to find target container {name}")
    return known.id


def _containers(pod: LivePod) -> list[Container]:
    return [one for sandbox in pod.sandboxes for one in sandbox.containers]


def _home(pod: LivePod, container_id: str) -> str:
    """The sandbox that a container is in; empty when it is not seen any more."""
    for sandbox in pod.sandboxes:
        if any(one.id == container_id for one in sandbox.containers):
            return sandbox.id
    return ""
