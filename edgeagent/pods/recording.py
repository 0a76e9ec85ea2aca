"""Where what is known of a pod goes: its facts into the store, its status and Events to the hub.

Owns what was last stored and last reported, so that nothing is written twice. Called by
``workers.py`` with the outcome of each plan.
"""

from __future__ import annotations

import structlog

from edgeagent.pods.live import LivePod
from edgeagent.pods.model.facts import PodFacts
from edgeagent.pods.ports import FactStore, Reports
from edgeagent.pods.reporting import urgency
from shared.errors import StoreBusy
from shared.objects import Json

log = structlog.get_logger()


class Recording:
    def __init__(self, store: FactStore, reports: Reports) -> None:
        self._store = store
        self._reports = reports

    async def save(self, pod: LivePod, facts: PodFacts) -> None:
        """A full disk must not keep pods from running: they go on, with less to be adopted from."""
        try:
            await self._store.save(pod.uid, facts.to_json())
        except StoreBusy as error:
            log.error("facts of a pod not stored", pod_uid=pod.uid, error=str(error))
            pod.unstored = True
        else:
            pod.saved, pod.unstored = facts, False

    async def report(self, pod: LivePod, status: Json, *, deleting: bool) -> None:
        status = urgency.acknowledged(status, deleting=deleting)
        finished = deleting and pod.facts.final is not None and pod.has_let_go
        before, events = pod.reported, pod.events.pending()
        if not pod.events.has_news and before == (status, finished):
            return
        await self._reports.put(
            pod.report_key,
            uid=pod.uid,
            status=status,
            events=events,
            finished=finished,
            within=urgency.within(
                before[0] if before else None, status, deleting=deleting, finished=finished
            ),
        )
        pod.reported = (status, finished)
        pod.events.told(events)
