"""Cgroups of pods that nobody knows, left by an agent that lost its database, or by its runtime.

Owns what must be seen before one goes: its name is that of a pod's cgroup as our driver names them,
no process is in it or below it, in whatever hierarchy, at two looks (another kubelet of the machine
makes a pod's cgroup some seconds before anything is in it), and where it would be can be seen at
all. Whether a uid is known to anybody is for ``orphans.py`` to say, which calls this.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import structlog

from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.resources import cgroups
from edgeagent.pods.resources.cgroup_files import CgroupFiles
from edgeagent.pods.resources.slices import Slices
from shared.threads import Offload

log = structlog.get_logger()


class OrphanCgroups:
    def __init__(
        self,
        files: CgroupFiles,
        slices: Slices,
        *,
        node: Callable[[], NodeFacts],
        offload: Offload,
    ) -> None:
        self._files = files
        self._slices = slices
        self._node = node
        self._offload = offload
        self._empty_before: frozenset[str] = frozenset()

    async def clean(self, is_known: Callable[[str], bool]) -> bool:
        """Whether all that may go is gone; else it is to be tried again, some time later."""
        node = self._node()
        if not node.runtime_version:
            return False  # By which driver cgroups are named is not known yet.
        found = await self._found(node)
        strangers = {path for path, uid in found.items() if not is_known(uid)}
        version = node.cgroup_version
        empty: frozenset[str] = await self._offload(lambda: self._empty(strangers, version))
        twice, self._empty_before = empty & self._empty_before, empty
        gone: set[str] = set()
        for path in sorted(twice):
            if is_known(found[path]) or await self._removed(path, node):
                gone.add(path)
        return empty <= gone

    async def _found(self, node: NodeFacts) -> dict[str, str]:
        """Uids by path, in cgroups and in what systemd keeps of them."""
        driver = node.cgroup_driver
        paths: set[str] = await self._offload(lambda: self._seen(node))
        if driver == "systemd":
            units = await self._slices.loaded(cgroups.UNITS)
            paths |= {f"{place}/{unit}" for place in cgroups.places(driver) for unit in units}
        return {path: uid for path in paths if (uid := cgroups.uid_in(path, driver))}

    def _seen(self, node: NodeFacts) -> set[str]:
        version = node.cgroup_version
        return {
            f"{place}/{name}"
            for place in cgroups.places(node.cgroup_driver)
            for name in self._files.names_in(place, version=version)
        }

    def _empty(self, paths: Collection[str], version: int) -> frozenset[str]:
        return frozenset(one for one in paths if not self._files.in_use(one, version=version))

    async def _removed(self, path: str, node: NodeFacts) -> bool:
        version = node.cgroup_version
        if not await self._offload(lambda: self._files.remove_empty(path, version=version)):
            return False
        if node.cgroup_driver == "systemd":
            await self._slices.stop(path.rpartition("/")[2])
        log.info("removed the cgroup of a pod that nobody knows", path=path)
        return True
