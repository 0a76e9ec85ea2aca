"""Folders and cgroups of pods that a crash left behind: found after the start, and taken away.

Owns the evidence that one is nobody's: the list of pods is valid and every body in it is here,
what was remembered has been read, the runtime has answered, and none of them knows the uid. Short
of that nothing is removed. Cgroups must be empty too (``orphan_cgroups.py``). Logs are removed only
of pods that have a folder in the agent's own data: the log folder may be shared with somebody
else's pods. Called by ``keeping.py``.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Protocol

import structlog

from edgeagent.housekeeping.orphan_cgroups import OrphanCgroups
from edgeagent.pods.held import PodsOfDevice
from edgeagent.pods.logs import leftovers, loglinks
from edgeagent.pods.model.paths import PodPaths, safe
from edgeagent.pods.volumes.making import Volumes
from edgeagent.runtime.port import Runtime
from shared.clock import Clock
from shared.errors import KubetideError
from shared.threads import Offload

log = structlog.get_logger()

RETRY_SECONDS = 60.0


class CompleteList(Protocol):
    @property
    def complete(self) -> bool:
        """Whether the uid of every pod that should be here is known."""
        ...


class Orphans:
    def __init__(
        self,
        runtime: Runtime,
        *,
        pods: PodsOfDevice,
        desired: CompleteList,
        clock: Clock,
        paths: PodPaths,
        offload: Offload,
        cgroups: OrphanCgroups | None,
    ) -> None:
        """``cgroups`` is None where the runtime has none."""
        self._runtime = runtime
        self._pods = pods
        self._desired = desired
        self._clock = clock
        self._paths = paths
        self._offload = offload
        self._cgroups = cgroups
        self._volumes = Volumes(paths, clock, offload=offload)

    async def run(self) -> None:
        """Until everything that was left behind is gone."""
        while not await self.clean():
            await self._clock.sleep(RETRY_SECONDS)

    async def clean(self) -> bool:
        """Whether that is done; else it is to be tried again."""
        if not (self._pods.adopted and self._desired.complete):
            return False
        try:
            sandboxes = {one.uid for one in await self._runtime.list_sandboxes()}
            found = await self._volumes.orphans({*sandboxes, *self._pods.known()})
            removed = [await self._remove(uid) for uid in found]
            return await self._clean_cgroups(sandboxes) and all(removed)
        except (OSError, KubetideError) as error:
            log.warning("orphans not looked for", error=str(error))
            return False

    async def _clean_cgroups(self, sandboxes: Collection[str]) -> bool:
        def is_known(uid: str) -> bool:
            return uid in sandboxes or uid in self._pods.known()

        return self._cgroups is None or await self._cgroups.clean(is_known)

    async def _remove(self, uid: str) -> bool:
        if uid in self._pods.known():
            return True
        try:
            safe(uid)
            await self._offload(lambda: _remove_logs(self._paths, uid))
            await self._volumes.remove(uid)
        except (OSError, KubetideError) as error:
            log.warning("orphan not removed", pod_uid=uid, error=str(error))
            return False
        log.info("removed what a pod left behind", pod_uid=uid)
        return True


def _remove_logs(paths: PodPaths, uid: str) -> None:
    """Logs first: as long as the pod's own folder is there, a crash repeats this."""
    names = os.listdir(paths.logs) if paths.logs.is_dir() else []
    for name in names:
        if name.endswith(f"_{uid}"):
            loglinks.remove_below(paths, paths.logs / name)
            leftovers.remove_folder(paths.logs / name)
