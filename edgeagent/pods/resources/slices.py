"""Slices of pods that are over: systemd is asked to let go of the unit.

Where the cgroup driver is systemd, it loads a pod's slice when the runtime starts something in it,
and would keep it until the next boot, though its cgroup is gone. A connection lasts for one
question; pods end seldom. Nothing that goes wrong here holds up a pod; the first such thing is
said. Called by ``podmaterials.py``, and for pods that nobody knows by ``orphan_cgroups.py`` of
``edgeagent/housekeeping``; a slice is stopped only when its cgroup is gone.
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
            if error.refusal != _NO_SUCH_UNIT:
                self._say(error)

    async def loaded(self, pattern: str) -> set[str]:
        """Names of the units that systemd has; none where it cannot be asked."""
        try:
            async with connected(SYSTEMD, self._bus) as systemd:
                (rows,) = await systemd.call("ListUnitsByPatterns", "asas", ([], [pattern]))
        except BusAway as error:
            self._say(error)
            return set()
        return {str(row[0]) for row in rows}

    def _say(self, error: BusAway) -> None:
        if not self._said:
            self._said = True
            log.warning("systemd keeps slices of pods that are gone", reason=str(error))
