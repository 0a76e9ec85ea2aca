"""Takes what devices report about pods to the API server: differences only, newest only.

One worker per reported pod, a few of each node at a time, level-triggered: compare the newest
report with the API's status, patch if they differ, end a finished deletion, clear a report whose
pod is gone. Invariants: every write names the pod's uid; what a server did not take over is not
written again; a report is cleared only when the API said that its pod is no more; no node takes
the way from the others. ``uplink`` says what is new, the book has it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

import structlog

from cloudhub.fleet.fleet import Fleet
from cloudhub.fleet.pods import PodRecord
from cloudhub.fleet.reports import ABOUT_PODS, ReportBook
from cloudhub.kube.port import PODS, Kube
from cloudhub.metrics import Metrics
from cloudhub.mirrors.static_lists import StaticLists
from cloudhub.reporting.mounted import with_mounts
from cloudhub.reporting.pod_status import runs_again, status_patch
from cloudhub.reporting.readiness import gated
from cloudhub.throttling import Buckets, Sayings
from shared import codec
from shared.clock import Clock
from shared.errors import KubeError, KubeRefused, LinkError, WireError
from shared.messages import Report
from shared.objects import Json, ObjectKey
from shared.tasks import KeyedWorkers

log = structlog.get_logger()

AT_ONCE = 32
"""Requests under way."""
AT_ONCE_PER_NODE = 4
"""Of those: a node that talks without end takes the way from no other."""
STRANGE_BURST, STRANGE_PER_SECOND, STRANGE_LATER = 100.0, 5.0, 20.0
"""Reports of one node about pods that our watch does not know, which the API server is asked about;
and seconds until the others have their turn."""
MOST_GONE = 4096
"""Deleted pods that are remembered, for reports that come late."""
DELETE_AGAIN = 30.0
"""Seconds after which a pod whose deletion we ended and that is still there is deleted again: the
API server may have been restored from a backup that has it."""
SHOWN_LATER = 60.0
"""Seconds until a pod that the API has, and our watch has not shown, is looked for again."""
MOST_PATCH = 512 * 1024
"""Bytes of one patch; a status is a few thousand."""

Reported = tuple[str, ObjectKey]
"""Node and pod."""


class Reporting:
    def __init__(
        self,
        kube: Kube,
        fleet: Fleet,
        book: ReportBook,
        clear: Callable[[str, ObjectKey], Awaitable[None]],
        statics: StaticLists,
        over: Callable[[PodRecord, bool], None],
        serves: Callable[[str], bool],
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """``clear`` empties the topic of a report; it raises LinkError while the link is down.
        ``over`` is told whether the device runs a pod that has finished. ``serves``: whether what
        a node says comes here; else our memory of it may be old."""
        self._kube = kube
        self._fleet = fleet
        self._book = book
        self._clear_topic = clear
        self._statics = statics
        self._over = over
        self._serves = serves
        self._clock = clock
        self._metrics = metrics
        self._online: set[str] = set()
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._left: dict[str, bytes] = {}
        """Of patches that the server answered and did not keep, the digest, by uid."""
        self._ended: dict[str, float] = {}
        self._room = asyncio.Semaphore(AT_ONCE)
        self._room_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._strange = Buckets(burst=STRANGE_BURST, per_second=STRANGE_PER_SECOND, clock=clock)
        self._sayings = Sayings(clock=clock)
        self._workers = KeyedWorkers(self._settle, clock=clock, name="pod status")

    # -- what others tell

    def reported(self, node: str, key: ObjectKey) -> None:
        """The book has a new one. It is read when its turn comes: many may wait."""
        self._workers.wake((node, key))

    def changed(self, record: PodRecord) -> None:
        """The API said something new about a pod. A backup may have brought it back."""
        self._gone.pop(record.uid, None)
        self._wake(record.node, record.report_key)

    def gone(self, record: PodRecord) -> None:
        """The API has no such pod any more."""
        self._gone[record.uid] = None
        self._left.pop(record.uid, None)
        self._ended.pop(record.uid, None)
        if len(self._gone) > MOST_GONE:
            self._gone.popitem(last=False)
        self._wake(record.node, record.report_key)

    def forget(self, node: str) -> None:
        """Its Node is not ours any more: nothing will say that its pods are gone. Before the fleet
        forgets them."""
        for record in (*self._fleet.pods(node), *self._fleet.mirrors(node)):
            self._left.pop(record.uid, None)
            self._ended.pop(record.uid, None)

    def set_online(self, node: str, online: bool) -> None:
        if online and node not in self._online:
            self._online.add(node)
            self.look_at(node)
        elif not online:
            self._online.discard(node)

    def all_offline(self) -> None:
        """Our own link is down: nothing is known about any node."""
        self._online.clear()

    def is_online(self, node: str) -> bool:
        return node in self._online

    def look_at(self, node: str) -> None:
        """Compare all that this node reported."""
        for key in self._book.keys(node):
            self._workers.wake((node, key))

    async def stop(self) -> None:
        await self._workers.stop()

    def _wake(self, node: str, key: ObjectKey) -> None:
        if self._book.payload(node, key) is not None:
            self._workers.wake((node, key))

    # -- one reported pod at a time

    async def _settle(self, which: Reported) -> float | None:
        node, key = which
        if key.kind not in ABOUT_PODS or not self._fleet.listed(node):
            return None
        if not self._serves(node):
            return None  # Our memory may be old: we would undo what another replica wrote.
        room = self._room_of.setdefault(node, asyncio.Semaphore(AT_ONCE_PER_NODE))
        async with room, self._room:
            report = self._from_book(which)
            return await self._compare(node, report) if report is not None else None

    async def _compare(self, node: str, report: Report) -> float | None:
        record = self._fleet.reported_as(report.key)
        if record is None or record.origin != report.uid:
            return await self._clear_if_over(node, report)
        if record.node != node:
            self._metrics.rejected("foreign-pod")
            words = "report about a pod of another node"
            self._sayings.warn("foreign-pod", words, node=node, pod=str(report.key))
            return await self._clear_if_over(node, report)
        return await self._take(record, report)

    def _from_book(self, which: Reported) -> Report | None:
        payload = self._book.payload(*which)
        return Report.decode(payload) if payload is not None else None

    async def _take(self, record: PodRecord, report: Report) -> float | None:
        """Answers when to look again."""
        self._over(record, runs_again(record.status, report.status))
        try:
            await self._patch(record, report)
            if report.finished and record.grace is not None:
                return await self._end(record)
        except KubeRefused as refused:
            if refused.status == 409:
                # Somebody was faster, or it is another pod by now: look again in a moment.
                raise KubeError(str(refused), status=409) from refused
            if refused.status != 404:
                raise
            # Gone: the watch will say so.
        except WireError as error:
            self._refuse(record, error)
        return None

    async def _patch(self, record: PodRecord, report: Report) -> None:
        patch, mark = self._planned(record, record.status, report)
        if patch is None:
            self._left.pop(record.uid, None)
            return
        if mark == self._left.get(record.uid):
            return
        try:
            answer = await self._kube.patch(
                *(PODS, record.key.namespace, record.key.name),
                {"metadata": {"uid": record.uid}, "status": patch},
                subresource="status",
                patch_type="strategic",
            )
        except KubeRefused as refused:
            if refused.status not in (400, 413, 422):
                raise
            self._refuse(record, refused)
            self._left[record.uid] = mark
            return
        _, left = self._planned(record, answer.get("status") or {}, report)
        if left == mark:
            self._left[record.uid] = mark
        else:
            # It kept what it was sent; what it lacks now, as after a backup, it was not sent yet.
            self._left.pop(record.uid, None)

    def _planned(
        self, record: PodRecord, current: Json, report: Report
    ) -> tuple[Json | None, bytes]:
        """The patch and its digest. Raises WireError for a status that cannot be one."""
        online = self.is_online(record.node)
        try:
            reported = with_mounts(report.status, codec.unpack(record.body.packed))
            status = gated(reported, current, gates=record.gates, now=self._clock.now())
            patch = status_patch(current, status, online=online, mirror=bool(record.mirror))
            packed = codec.pack(patch)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise WireError("bad-status", str(error)) from error
        if len(packed) > MOST_PATCH:
            raise WireError("bad-status", f"{len(packed)} bytes")
        return patch, codec.digest(packed)

    def _refuse(self, record: PodRecord, error: Exception) -> None:
        self._metrics.rejected("bad-status")
        log.warning("status refused", pod=str(record.key), error=str(error)[:300])

    async def _end(self, record: PodRecord) -> float | None:
        """The device has stopped it and holds nothing of it: the deletion is complete."""
        now, key = self._clock.monotonic(), record.key
        wait = self._ended.get(record.uid, now) - now
        if wait > 0:
            return wait
        await self._kube.delete(PODS, key.namespace, key.name, uid=record.uid, grace=0)
        log.info("deletion ended", pod=str(key), pod_uid=record.uid, node=record.node)
        if record.uid in self._gone:  # The watch was faster than the answer.
            return None
        self._ended[record.uid] = now + DELETE_AGAIN
        return DELETE_AGAIN

    async def _clear_if_over(self, node: str, report: Report) -> float | None:
        """Of a static pod only its device says that it is over; the API has but its mirror. Answers
        when to look again."""
        if report.key.kind == "Pod":
            return await self._clear_if_gone(node, report)
        if self._statics.is_over(node, report):
            await self._clear(node, report)
        return None

    async def _clear_if_gone(self, node: str, report: Report) -> float | None:
        if report.uid not in self._gone:
            if not self._strange.take(node):
                return STRANGE_LATER
            found = await self._kube.get(PODS, report.key.namespace, report.key.name)
            if found is not None and _is(found, report.uid, node):
                # Ours is the older view. The watch brings it, unless it is gone by then.
                return SHOWN_LATER
        await self._clear(node, report)
        return None

    async def _clear(self, node: str, report: Report) -> None:
        payload = self._book.payload(node, report.key)
        if payload is not None and Report.decode(payload).uid != report.uid:
            return
        self._book.drop(node, report.key)
        try:
            await self._clear_topic(node, report.key)
        except LinkError as error:
            log.debug("report not cleared", node=node, pod=str(report.key), error=str(error))


def _is(pod: Json, uid: str, node: str) -> bool:
    """Whether it is that pod, on that node: a backup of the API server may unbind one."""
    return bool(pod["metadata"]["uid"] == uid and pod["spec"].get("nodeName") == node)
