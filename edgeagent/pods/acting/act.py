"""Carries out the actions of a plan, each as an operation beside the pod's worker.

Owns the way from an action to those who do it (``starting.py``, ``stopping.py``; resizes and
cleaning are here), and the growing waits after a failure. It decides nothing: whatever happens is
written into the ``LivePod`` and the planner looks again. Called by ``workers.py`` only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import structlog

from edgeagent.pods.acting.hooks import PodHooks
from edgeagent.pods.acting.starting import Starting
from edgeagent.pods.acting.stopping import StoppingContainers, not_killed
from edgeagent.pods.live import LivePod
from edgeagent.pods.model import specs
from edgeagent.pods.model.actions import (
    Action,
    EnsureImage,
    PrepareVolumes,
    RefreshVolumes,
    RemoveContainer,
    RemoveSandbox,
    RemoveVolumes,
    ResizeContainer,
    ResizePod,
    RunPreStop,
    StartContainer,
    StartSandbox,
    StopContainer,
    StopSandbox,
)
from edgeagent.pods.model.errors import SANDBOX_FAILED, ContentsError, PodTrouble
from edgeagent.pods.model.podevents import warning
from edgeagent.pods.model.view import Trouble
from edgeagent.pods.observing import Observer
from edgeagent.pods.planning.cleaning import VOLUMES
from edgeagent.pods.ports import Materials
from edgeagent.pods.resources import amounts, quantities
from edgeagent.pods.rules import resizing
from edgeagent.runtime.port import Runtime, RuntimeAway
from shared.clock import Clock
from shared.errors import KubetideError, TemporaryError
from shared.objects import Json

log = structlog.get_logger()

_FIRST_RETRY, _MOST_RETRY = 0.5, 10.0
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
        hooks = PodHooks(runtime, clock, node_ips)
        self._starting = Starting(
            runtime=runtime,
            materials=materials,
            observer=observer,
            hooks=hooks,
            revision=revision,
        )
        self._stopping = StoppingContainers(
            runtime=runtime, observer=observer, hooks=hooks, clock=clock
        )

    def desired_changed(self) -> None:
        """Something that a start waits for may be here."""
        self._starting.desired_changed()

    async def close(self) -> None:
        await self._starting.close()

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
            # What it says may quote a secret, and is in the log.
            words = f"internal error: {type(error).__name__}"
            self._trouble(pod, action, TemporaryError(words))
        else:
            pod.troubles.pop(action.slot, None)

    async def _act(self, pod: LivePod, action: Action) -> None:
        match action:
            case PrepareVolumes():
                await self._prepare(pod)
            case RefreshVolumes():
                await self._refresh(pod)
            case StartSandbox():
                await self._starting.start_sandbox(pod, action)
            case EnsureImage():
                container = {**pod.spec_of(action.name), "image": action.image}
                image = await self._materials.image(pod.pod, container, pod.events.record)
                pod.images[action.name] = action.image, image
            case StartContainer():
                await self._starting.start_container(pod, action)
            case RunPreStop():
                await self._stopping.pre_stop(pod, action)
            case StopContainer():
                await self._stopping.stop_container(pod, action)
            case ResizeContainer():
                await self._resize(pod, action)
            case ResizePod():
                await self._resize_pod(pod)
            case _:
                await self._clean(pod, action)

    async def _prepare(self, pod: LivePod) -> None:
        """An ephemeral container that came meanwhile may use volumes that were not made."""
        pod.cleaned.discard(VOLUMES)
        pod.volumes_stale = False
        whole = pod.pod
        is_newest = await self._materials.prepare(whole, pod.events.record)
        pod.volumes_ready = specs.used_volumes(pod.pod) <= specs.used_volumes(whole)
        pod.volumes_stale |= not is_newest

    async def _refresh(self, pod: LivePod) -> None:
        """What objects lack waits for them to change; all else is tried again."""
        pod.volumes_stale = False
        try:
            await self._materials.refresh(pod.pod)
        except ContentsError:
            raise
        except BaseException:
            pod.volumes_stale = True
            raise

    async def _clean(self, pod: LivePod, action: Action) -> None:
        match action:
            case RemoveContainer():
                await self._remove_container(pod, action.container_id)
            case StopSandbox():
                await self._runtime.stop_sandbox(action.sandbox_id)
                pod.cleaned.add(action.sandbox_id)
                await self._observer.see(pod, action.sandbox_id)
            case RemoveSandbox():
                await self._runtime.remove_sandbox(action.sandbox_id)
                await self._observer.see(pod, action.sandbox_id)
                pod.cleaned.discard(action.sandbox_id)
            case RemoveVolumes():
                await self._materials.remove(pod.pod)
                pod.volumes_ready = False
                pod.cleaned.add(VOLUMES)

    async def _remove_container(self, pod: LivePod, container_id: str) -> None:
        """Files first: as long as the container is there, a crash repeats this."""
        for one in pod.containers():
            if one.id == container_id:
                await self._materials.remove_files(pod.pod, one)
        await self._runtime.remove_container(container_id)
        await self._observer.see_container(pod, pod.home_of(container_id), container_id)

    async def _resize(self, pod: LivePod, action: ResizeContainer) -> None:
        whole, spec = pod.pod, pod.spec_of(action.name)
        resources = self._materials.resources(whole, spec)
        lowered = _lowered(pod, action, resources.memory_limit_bytes)
        await self._check_usage(pod, whole, lowered)
        await self._materials.limit_pod(whole, only_wider=True)
        await self._runtime.update_resources(action.container_id, resources)
        await self._materials.limit_pod(pod.pod)
        known = pod.facts.container(action.name)
        if known is not None and known.id == action.container_id:
            resized = replace(known, resources=amounts.given(whole, spec))
            pod.facts = pod.facts.with_container(action.name, resized)

    async def _resize_pod(self, pod: LivePod) -> None:
        whole = pod.pod
        await self._check_usage(pod, whole)
        if trouble := await self._materials.limit_pod(whole):
            raise TemporaryError(f"failed to set the limits of the pod: {trouble}")
        pod.facts = replace(pod.facts, resources=resizing.as_a_whole(whole))

    async def _check_usage(
        self, pod: LivePod, whole: Json, lowered: _Lowered | None = None
    ) -> None:
        """A kernel would kill for memory what uses more than a limit that became lower."""
        if lowered is None and pod.facts.resources == resizing.as_a_whole(whole):
            return
        stats = await self._runtime.stats()
        usage = {one.container_id: one.memory_usage_bytes for one in stats}
        together = sum(usage.get(one.id, 0) for one in pod.containers())
        limits = [("pod", quantities.whole(amounts.whole_limit(whole, "memory")), together)]
        if lowered is not None:
            used = usage.get(lowered.container_id, 0)
            limits.append((f'container "{lowered.name}"', lowered.limit, used))
        beyond = [
            f"attempting to set {what} memory limit ({limit}) below current usage ({used})"
            for what, limit, used in limits
            if 0 < limit <= used
        ]
        if beyond:
            words = beyond[0] if len(beyond) == 1 else f"[{', '.join(beyond)}]"
            raise TemporaryError(f"cannot decrease memory limits: {words}")

    def _trouble(self, pod: LivePod, action: Action, error: KubetideError) -> None:
        self._observer.changed(pod.uid)
        before = pod.troubles.get(action.slot)
        failures = (before.failures if before else 0) + 1
        asked = not isinstance(error, (RuntimeAway, PodTrouble))
        refusals = (before.refusals if before else 0) + asked
        delay = error.delay if isinstance(error, TemporaryError) else None
        if delay is None:
            delay = min(_FIRST_RETRY * 2.0 ** min(failures, 16), _MOST_RETRY)
        reason = "" if isinstance(error, RuntimeAway) else _reason(action, error)
        retry_at = self._clock.monotonic() + delay
        trouble = Trouble(reason, str(error), retry_at, failures, refusals)
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
        elif isinstance(action, (ResizeContainer, ResizePod)):
            pod.events.record(resizing.failed(pod.pod, str(error)))
        elif isinstance(action, StartContainer):
            pod.events.record(warning("Failed", f"Error: {error}", field_path=path))
        elif isinstance(action, (StopContainer, StopSandbox)) and pod.facts.stopping is not None:
            pod.events.record(not_killed(pod, action, error))


@dataclass(frozen=True, slots=True)
class _Lowered:
    """A container whose memory limit comes down."""

    container_id: str
    name: str
    limit: int


def _lowered(pod: LivePod, action: ResizeContainer, limit: int) -> _Lowered | None:
    """The container that is resized, if its memory limit comes down or is a first one."""
    known = pod.facts.container(action.name)
    before = {"name": action.name, "resources": known.resources if known else {}}
    had = quantities.whole(amounts.of(before, "limits").get("memory", Fraction(0)))
    is_lower = limit and not 0 < had <= limit
    return _Lowered(action.container_id, action.name, limit) if is_lower else None


def _reason(action: Action, error: KubetideError) -> str:
    if isinstance(error, PodTrouble):
        return error.reason
    if isinstance(action, StartContainer):
        return "CreateContainerError"
    return "ContainerCreating"


def _words(error: OSError) -> str:
    """A full disk has no file to name, where it was already open."""
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}"
