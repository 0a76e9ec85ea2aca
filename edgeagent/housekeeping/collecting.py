"""Removes images that nobody needs, when their disk is too full or an eviction asks for room.

Owns the memory of when images were used, the calls to the runtime, and the Node Events; what goes
is chosen by ``images.py``. An image that is pulled while this goes on is younger than the least
age and stays; so does what a pod needs that comes meanwhile. Called by ``keeping.py`` every five
minutes, and by ``evicting.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from edgeagent.housekeeping.images import ImageUse, chosen, noted, to_free, used_by
from edgeagent.housekeeping.nodevents import NodeEvents
from edgeagent.node.device import Disk
from edgeagent.pods.held import PodsOfDevice
from edgeagent.pods.images.references import tagged
from edgeagent.pods.model import specs
from edgeagent.pods.model.podevents import warning
from edgeagent.runtime.port import (
    Image,
    InvalidImageName,
    Runtime,
    RuntimeAway,
    UnclearImageName,
)
from shared.clock import Clock
from shared.errors import KubetideError
from shared.objects import Json

log = structlog.get_logger()

LOOK_SECONDS = 300.0


class ImageCollector:
    def __init__(
        self,
        runtime: Runtime,
        *,
        pods: PodsOfDevice,
        bodies: Callable[[], list[Json]],
        clock: Clock,
        events: NodeEvents,
        disk: Callable[[str], Disk],
        complete: Callable[[], bool],
    ) -> None:
        """``bodies`` are the pods that should be here, all of them if they are ``complete``;
        ``disk`` looks at a path's file system."""
        self._runtime = runtime
        self._pods = pods
        self._bodies = bodies
        self._clock = clock
        self._events = events
        self._disk_at = disk
        self._complete = complete
        self._mountpoint = ""
        self._uses: dict[str, ImageUse] | None = None
        self._turn = asyncio.Lock()

    def disk(self) -> Disk:
        """That images are on; nothing is known of it until the runtime has told which."""
        return self._disk_at(self._mountpoint) if self._mountpoint else Disk()

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except KubetideError as error:
                self._events.record(warning("ImageGCFailed", str(error)))
            await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Note what is used; make room if the disk is too full.

        While bodies are missing, nobody knows what their pods need; a real shortage does not wait.
        """
        filesystem = await self._runtime.image_filesystem()
        self._mountpoint = filesystem.mountpoint if filesystem else ""
        room = self.disk().space
        amount = to_free(room) if room and self._complete() else 0
        async with self._turn:
            freed = await self._collect(amount)
        if amount and freed < amount:
            self._events.record(warning("FreeDiskSpaceFailed", _too_little(amount, freed)))

    async def free_all(self) -> None:
        """Everything that may go at all."""
        async with self._turn:
            await self._collect(None)

    async def _collect(self, amount: int | None) -> int:
        """Bytes of the images that were removed."""
        images = await self._runtime.list_images()
        used = used_by(
            images, [one for box in await self._runtime.list_sandboxes() for one in box.containers]
        )
        now = self._clock.monotonic()
        self._uses = uses = noted(self._uses, images, used, now)
        if amount == 0:
            return 0
        kept, freed = {*used}, 0
        looked_up: set[str] = set()
        kept |= await self._needed(looked_up)
        while amount is None or freed < amount:
            left = None if amount is None else amount - freed
            gone = chosen(images, uses, kept=kept, now=now, amount=left)
            if not gone:
                break
            for one in gone:
                # Removing some gigabytes takes long enough for a pod to come.
                kept |= await self._needed(looked_up)
                freed += 0 if one.id in kept else await self._remove(one)
                kept.add(one.id)
        return freed

    async def _needed(self, looked_up: set[str]) -> set[str]:
        """Ids of the images that pods name, and of the one that sandboxes are made of; names that
        were ``looked_up`` already are left out, and the others join them.

        The runtime itself says which image a name means. Raises when it cannot be asked.
        """
        bodies = [*self._bodies(), *(one.pod for one in self._pods.held() if not one.ended)]
        names = {name for pod in bodies for name in specs.images(pod)}
        if not looked_up:
            names.add((await self._runtime.info()).sandbox_image)
        found = [await self._look_up(name) for name in sorted(names - looked_up - {""})]
        looked_up |= names
        return {one.id for one in found if one is not None}

    async def _look_up(self, name: str) -> Image | None:
        try:
            return await self._runtime.image_status(tagged(name))
        except (InvalidImageName, UnclearImageName):
            return None

    async def _remove(self, image: Image) -> int:
        """One that cannot go keeps no other: CRI-O shares its images with podman, and keeps those
        that anybody's container was made of."""
        try:
            await self._runtime.remove_image(image.id)
        except RuntimeAway:
            raise
        except KubetideError as error:
            log.warning("image not removed", image=image.id, error=str(error))
            return 0
        if self._uses is not None:
            self._uses.pop(image.id, None)
        log.info("image removed", image=image.id, tags=image.tags, size=image.size_bytes)
        return image.size_bytes


def _too_little(amount: int, freed: int) -> str:
    return (
        f"Failed to garbage collect required amount of images. Attempted to free {amount} bytes,"
        f" but only found {freed} bytes eligible to free."
    )
