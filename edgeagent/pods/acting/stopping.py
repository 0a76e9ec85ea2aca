"""Stopping containers: the preStop hook, the time that is left, and the Events that say why, or
that it failed.

Called by ``act.py``, which turns every failure into a trouble of the action's slot.
"""

from __future__ import annotations

import asyncio
import json

import structlog

from edgeagent.pods.acting.hooks import HookFailed, PodHooks
from edgeagent.pods.live import LivePod
from edgeagent.pods.model import causes, specs
from edgeagent.pods.model.actions import RunPreStop, StopContainer, StopSandbox
from edgeagent.pods.model.causes import Cause
from edgeagent.pods.model.podevents import PodEvent, normal, warning
from edgeagent.pods.observing import Observer
from edgeagent.pods.planning.draft import MINIMUM_GRACE
from edgeagent.pods.rules import restarting
from edgeagent.runtime.port import Runtime
from shared.clock import Clock
from shared.errors import KubetideError
from shared.objects import Json

log = structlog.get_logger()


class StoppingContainers:
    def __init__(
        self, *, runtime: Runtime, observer: Observer, hooks: PodHooks, clock: Clock
    ) -> None:
        self._runtime = runtime
        self._observer = observer
        self._hooks = hooks
        self._clock = clock

    async def stop_container(self, pod: LivePod, action: StopContainer) -> None:
        grace = max(action.deadline - self._clock.monotonic(), 0.0)
        self._announce(pod, action.name, action.container_id, _why(pod, action))
        if action.hook:
            await self.pre_stop(pod, action)
        left = action.deadline - self._clock.monotonic()
        least = MINIMUM_GRACE if grace else 0.0
        await self._runtime.stop_container(action.container_id, max(left, least))
        home = pod.home_of(action.container_id)
        await self._observer.see_container(pod, home, action.container_id)

    async def pre_stop(self, pod: LivePod, action: StopContainer | RunPreStop) -> None:
        """Once for each container, and for no longer than it may take to stop."""
        spec = pod.spec_of(action.name)
        hook = (spec.get("lifecycle") or {}).get("preStop")
        seconds = action.deadline - self._clock.monotonic()
        if not hook or seconds <= 0:
            return
        try:
            running = self._hooks.run(pod, hook, spec=spec, container_id=action.container_id)
            await asyncio.wait_for(running, seconds)
        except (HookFailed, TimeoutError) as error:
            log.info("preStop hook failed", pod_uid=pod.uid, error=str(error) or "out of time")
            self._tell_failed(pod, action.name, hook)
        pod.hooked.add(action.container_id)

    @staticmethod
    def _tell_failed(pod: LivePod, name: str, hook: Json) -> None:
        """A sleep that the grace period cuts short has not failed, as on a kubelet."""
        if "sleep" not in hook:
            path = specs.field_path(pod.pod, name)
            words = "PreStopHook failed"
            pod.events.record(warning("FailedPreStopHook", words, field_path=path))

    def _announce(self, pod: LivePod, name: str, container_id: str, words: str) -> None:
        if container_id not in pod.announced:
            pod.announced.add(container_id)
            path = specs.field_path(pod.pod, name)
            if pod.events.record(normal("Killing", words, field_path=path)):
                pod.wake()


def not_killed(pod: LivePod, action: StopContainer | StopSandbox, error: KubetideError) -> PodEvent:
    """Of a pod that ends: a step of its killing has failed."""
    step, target = "KillPodSandbox", pod.uid
    if isinstance(action, StopContainer):
        step, target = "KillContainer", action.name
    why = json.dumps(str(error), ensure_ascii=False)
    words = f'error killing pod: failed to "{step}" for "{target}" with {step}Error: {why}'
    return warning("FailedKillPod", words)


def _why(pod: LivePod, action: StopContainer) -> str:
    """In the words of the Event ``Killing``."""
    name, container = action.name, pod.spec_of(action.name)
    init = any(container is one for one in specs.inits(pod.pod))
    subject = f"{'Init container' if init else 'Container'} {name}"
    if action.cause is Cause.HOOK:
        return "FailedPostStartHook"
    if action.cause is Cause.UNKNOWN:
        kind = "Init container" if init else "Container"
        return f'{kind} is in "unknown" state, try killing it before restart'
    if action.cause is Cause.RESIZE:
        return f"Container {name} resize requires restart"
    if action.cause is Cause.ALL:
        return "killing"
    if action.cause in causes.ANEW:
        return f"{subject} definition changed{'' if init else ', will be restarted'}"
    if action.cause in causes.BY_PROBE:
        again = not init and restarting.policy_of(pod.pod, container) != "Never"
        return f"{subject} failed {action.cause} probe{', will be restarted' if again else ''}"
    return f"Stopping container {name}"
