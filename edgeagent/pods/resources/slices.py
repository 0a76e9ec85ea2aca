"""Slices of pods, where the cgroup driver is systemd: it is asked to make them, and to let go.

Without being asked it would load a pod's slice, without limits, when the runtime starts something
in it, and keep it until the next boot, though its cgroup is gone. A connection lasts for one
question; pods begin and end seldom. Nothing that goes wrong here holds up a pod; the first such
thing is said. Called by ``podmaterials.py``, and for pods that nobody knows by
``orphan_cgroups.py`` of ``edgeagent/housekeeping``; a slice is stopped only when its cgroup is
gone.
"""

from __future__ import annotations

import structlog

from edgeagent.pods.resources.unit_properties import Property, of_slice
from edgeagent.systembus import SYSTEM_BUS, BusAway, Service, connected

log = structlog.get_logger()

SYSTEMD = Service(
    "systemd",
    name="org.freedesktop.systemd1",
    path="/org/freedesktop/systemd1",
    interface="org.freedesktop.systemd1.Manager",
)
_NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"
_UNIT_EXISTS = "org.freedesktop.systemd1.UnitExists"


class Slices:
    def __init__(self, bus: str = SYSTEM_BUS) -> None:
        self._bus = bus
        self._said = False

    async def limit(self, name: str, limits: list[Property]) -> None:
        """Make it with these limits; one that is there gets them.

        Its start is not waited for: systemd starts it before what the runtime starts in it.
        """
        try:
            async with connected(SYSTEMD, self._bus) as systemd:
                try:
                    properties = [*of_slice(name), *limits]
                    await systemd.call(
                        "StartTransientUnit", "ssa(sv)a(sa(sv))", (name, "replace", properties, [])
                    )
                except BusAway as error:
                    if error.refusal != _UNIT_EXISTS:
                        raise
                    await systemd.call("SetUnitProperties", "sba(sv)", (name, True, limits))
        except BusAway as error:
            self._say(error)

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
            log.warning("systemd does not see to the slices of pods", reason=str(error))
