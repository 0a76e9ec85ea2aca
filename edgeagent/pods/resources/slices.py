"""Slices of pods that are over: systemd is asked to let go of the unit.

Where the cgroup driver is systemd, it loads a pod's slice when the runtime starts something in it,
and would keep it until the next boot, though its cgroup is gone. A connection lasts for one
question; pods end seldom. Nothing that goes wrong here holds up a pod; the first such thing is
said. Called by ``podmaterials.py`` only, for a slice whose cgroup is gone.
"""

from __future__ import annotations

import structlog

from edgeagent.systembus import SYSTEM_BUS, BusAway, Service, connected

log = structlog.get_logger()

SYSTEMD = Service(
    "systemd",
    name="org.freedesktop.systemd1",
    path="/org/freedesktop/systemd1",
    interface="org.freedesktop.systemd1.Manager",
)
_NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"


class Slices:
    def __init__(self, bus: str = SYSTEM_BUS) -> None:
        self._bus = bus
        self._said = False

    async def stop(self, name: str) -> None:
        """Idempotent. A stop ends whatever is in the slice: so nothing may be."""
        try:
            async with connected(SYSTEMD, self._bus) as systemd:
                await systemd.call("StopUnit", "ss", (name, "replace"))
        except BusAway as error:
            if error.refusal != _NO_SUCH_UNIT and not self._said:
                self._said = True
                log.warning("systemd keeps slices of pods that are gone", reason=str(error))
