"""Services from the API server into the fleet: one watch, of which only addresses are kept.

Whoever may not list them (an older role) still serves pods: what devices have of Services stays as
it is until the list comes. Called by ``sync.py``; what changes goes to its ``apply``.
"""

from __future__ import annotations

from collections.abc import Callable

from cloudhub.fleet.fleet import Effects, Fleet
from cloudhub.kube.port import SERVICES, Change, Kube, WatchEvent


class ServiceFeed:
    def __init__(self, kube: Kube, fleet: Fleet, apply: Callable[[Effects], None]) -> None:
        self._kube = kube
        self._fleet = fleet
        self._apply = apply

    async def run(self) -> None:
        async for event in self._kube.watch(SERVICES):
            self._apply(self._take(event))

    def _take(self, event: WatchEvent) -> Effects:
        if event.change is Change.LISTED:
            return self._fleet.list_services(event.objects)
        if event.change is Change.SET:
            return self._fleet.put_service(event.object)
        return self._fleet.drop_service(event.object)
