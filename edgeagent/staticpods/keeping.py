"""Static pods of the device: from the folder into the desired set, to the disk and to the hub.

Root task of the agent. The last good pod of every file is stored, so that a reboot with a broken
file, or with a folder that is not there, starts what ran before. Without a folder in the settings
there are no static pods, and what ran as one is stopped. The hub is told the complete list, a pod
that is still being stopped included: its mirror pod goes when it is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import structlog

from edgeagent.desired import DesiredPod, DesiredSet
from edgeagent.pods.held import HeldPod
from edgeagent.pods.model import stamps
from edgeagent.podshape import RejectedPod, admit
from edgeagent.session.reporting import Reports
from edgeagent.staticpods.folder import Folder
from edgeagent.store.records import Records
from shared.clock import Clock
from shared.errors import StoreBusy, WireError
from shared.objects import Json, ObjectKey
from shared.static_pods import is_static, list_key
from shared.threads import Offload

log = structlog.get_logger()

Seen = TypeVar("Seen")

LOOK_SECONDS = 2.0
IDLE_SECONDS = 60.0
"""Without a folder, and with nothing left of one."""


class StaticPods:
    def __init__(
        self,
        folder: Path | None,
        *,
        node: str,
        desired: DesiredSet,
        records: Records,
        reports: Reports,
        clock: Clock,
        offload: Offload | None,
    ) -> None:
        self._path = folder
        self._node = node
        self._desired = desired
        self._records = records
        self._reports = reports
        self._clock = clock
        self._offload = offload
        self._folder: Folder | None = None
        self._stored: dict[str, DesiredPod] = {}
        self._withheld: frozenset[str] = frozenset()
        """Files that were gone at the start: what runs of their pods runs on, nothing is begun."""
        self._told: dict[str, str] = {}
        """What was said of files that cannot be used; of the folder itself under an empty name."""

    async def load(self) -> None:
        """What ran before goes on before anything else is known. Every uid is made known, that its
        pod may be stopped; of a file that is gone the pod is not begun before that is certain."""
        records = await self._records.load_all()
        self._stored = {name: pod for name, one in records.items() if (pod := _pod(one))}
        self._give(self._stored, known=False)
        if self._path is not None:
            self._folder = Folder(self._path, node=self._node, pods=self._stored)
            self._withheld = await self._missing(self._folder)
            self._folder.note_missing(self._withheld)
        there = {name: one for name, one in self._stored.items() if name not in self._withheld}
        self._give(there if self._folder else {}, known=False)

    async def _missing(self, folder: Folder) -> frozenset[str]:
        """None, when the folder does not say so, or not soon."""
        try:
            return await asyncio.wait_for(self._away(folder.missing), LOOK_SECONDS)
        except OSError:
            return frozenset()

    async def run(self, held: Callable[[], Iterable[HeldPod]], told: Callable[[str], None]) -> None:
        """``held`` are the pods that are worked on; ``told`` hears of what cannot be used."""
        if self._withheld:
            await self._clock.sleep(LOOK_SECONDS)
        while True:
            if self._folder is not None:
                await self._look(self._folder)
                told(self._line())
            else:
                self._give({}, known=True)
            await self._store(self._folder.chosen() if self._folder else {})
            await self._report(held())
            idle = self._folder is None and not any(is_static(one.uid) for one in held())
            await self._clock.sleep(IDLE_SECONDS if idle else LOOK_SECONDS)

    async def _look(self, folder: Folder) -> None:
        try:
            look = await self._away(folder.look)
        except OSError as error:
            self._tell({**folder.troubles(), "": f"the folder cannot be read: {error.strerror}"})
            if self._withheld:
                self._give(folder.chosen(), known=False, doubtful=bool(folder.troubles()))
                self._withheld = frozenset()
            return
        self._withheld = frozenset()
        folder.take(look, now=stamps.of_seconds(self._clock.now()))
        self._give(folder.chosen(), known=True, doubtful=bool(folder.troubles()))
        self._tell(folder.troubles())

    async def _away(self, look: Callable[[], Seen]) -> Seen:
        found: Seen = await self._offload(look) if self._offload is not None else look()
        return found

    def _give(self, pods: Mapping[str, DesiredPod], *, known: bool, doubtful: bool = False) -> None:
        by_key = {pod.key: pod for pod in pods.values()}
        self._desired.replace_static(by_key, known=known, doubtful=doubtful)

    # -- what is said

    def _tell(self, troubles: Mapping[str, str]) -> None:
        """Each trouble once."""
        for name, why in troubles.items():
            if self._told.get(name) != why:
                kept = "what ran before goes on" if name in self._stored or not name else ""
                log.error(
                    "static pods not read" if not name else "static pod file cannot be used",
                    file=str(self._path / name if self._path else name),
                    error=why,
                    **({"kept": kept} if kept else {}),
                )
        for name in self._told.keys() - troubles.keys():
            log.info("static pods are read again", file=name or str(self._path))
        self._told = dict(troubles)

    def _line(self) -> str:
        return "; ".join(f"{name or self._path}: {why}" for name, why in self._told.items())

    # -- what is kept

    async def _store(self, pods: Mapping[str, DesiredPod]) -> None:
        """A full disk keeps nothing from running: it is tried again at the next look."""
        try:
            for name, pod in pods.items():
                if self._stored.get(name) != pod:
                    await self._records.save(name, pod.pod)
                    log.info("static pod taken up", file=name, pod=str(pod.key), pod_uid=pod.uid)
                    self._stored[name] = pod
            for name in self._stored.keys() - pods.keys():
                await self._records.delete(name)
                log.info("static pod is gone", file=name, pod_uid=self._stored.pop(name).uid)
        except StoreBusy as error:
            log.error("static pods not stored", error=str(error))

    # -- what the hub is told

    async def _report(self, held: Iterable[HeldPod]) -> None:
        pods = {pod.key: pod.pod for pod in self._desired.static_pods()}
        for one in held:
            if is_static(one.uid) and one.uid not in self._desired.pods() and not one.ended:
                pods[ObjectKey.of("Pod", one.pod)] = one.pod
        bodies = [pods[key] for key in sorted(pods)]
        await self._reports.put(
            list_key(self._node), uid=self._node, status={"pods": bodies}, within=0.02
        )


def _pod(record: Json) -> DesiredPod | None:
    """A stored pod; one that cannot be read any more is read from its file again."""
    try:
        key = ObjectKey.of("Pod", record)
        uid = admit(key, record)
    except (WireError, KeyError, TypeError, AttributeError) as error:
        log.error("a stored static pod cannot be read", error=repr(error))
        return None
    if isinstance(uid, RejectedPod) or not is_static(uid):
        log.error("a stored static pod cannot be used", pod=str(key))
        return None
    return DesiredPod(uid, key, record, None)
