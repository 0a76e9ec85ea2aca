"""Links to logs made whole: what a start that was cut short left out, and what nothing removed.

A link is made when its container has started and goes with it (``loglinks.py``). Looked at
once after the start and then every minute: containers behind whose start the agent was killed, or
that began under one that made no links, get theirs, and links to pods whose logs are gone go.
Called by ``keeping.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog

from edgeagent.pods.held import HeldPod, PodsOfDevice
from edgeagent.pods.logs import loglinks
from edgeagent.pods.model.paths import PodPaths
from edgeagent.runtime.port import ContainerState
from shared.clock import Clock
from shared.errors import KubetideError
from shared.threads import Offload

log = structlog.get_logger()

LOOK_SECONDS = 60.0


class LogLinks:
    def __init__(
        self, *, pods: PodsOfDevice, clock: Clock, paths: PodPaths, offload: Offload
    ) -> None:
        self._pods = pods
        self._clock = clock
        self._paths = paths
        self._offload = offload
        self._trouble = ""

    async def run(self) -> None:
        while True:
            await self.look()
            await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        held = list(self._pods.held())
        trouble = await self._offload(lambda: self._mend(held))
        if trouble != self._trouble and trouble:
            log.warning("links to logs not made", folder=str(self._paths.links), error=trouble)
        self._trouble = trouble

    def _mend(self, held: list[HeldPod]) -> str:
        """What went wrong last; one link that cannot be made keeps no other one away."""
        trouble = ""
        steps: list[Callable[[], None]] = [
            *(partial(self._link, pod) for pod in held),
            partial(loglinks.remove_dead, self._paths),
        ]
        for step in steps:
            try:
                step()
            except (OSError, KubetideError) as error:
                trouble = str(error)
        return trouble

    def _link(self, pod: HeldPod) -> None:
        begun = (*pod.containers(ContainerState.RUNNING), *pod.containers(ContainerState.EXITED))
        for one in begun:
            loglinks.make(
                *(self._paths, pod.pod, one.name), attempt=one.attempt, container_id=one.id
            )
