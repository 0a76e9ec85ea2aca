"""The pump of reports: gathers what the pods layer says, stores it, sends it while connected.

Two loops over one ``Outbox``. ``run`` (always) numbers and stores what is due, one transaction per
gather; ``send`` (per connection) publishes what is numbered and marks it at its PUBACK. A report
that the broker refuses or that is too large never holds up another one. With a full disk reports
still go out from memory. Only reports about pods that are wanted are taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence

import structlog

from edgeagent.desired import DesiredSet
from edgeagent.outbox import News, Outbox, Row, smaller
from edgeagent.store.outbox import OutboxStore
from edgeagent.waking import woken
from shared.clock import Clock
from shared.errors import PermanentError, StoreBusy, TemporaryError, TooLarge
from shared.link import Connection
from shared.messages import ReportedEvent
from shared.objects import Json, ObjectKey
from shared.static_pods import status_key
from shared.tasks import alone
from shared.topics import NodeTopics

log = structlog.get_logger()

MARK_SECONDS = 5.0
"""How long "sent" may wait to be stored; a crash before it sends that report once more."""
RETRY_SECONDS = 5.0
DELIVERY_LOOK_SECONDS = 0.02
ABOUT_PODS = ("Pod", "StaticPod")
REPEAT_SECONDS = 10.0
"""How long an Event that only happened once more may wait."""


class Reports:
    def __init__(
        self, topics: NodeTopics, *, desired: DesiredSet, store: OutboxStore, clock: Clock
    ) -> None:
        self.carried = 0
        """Highest applied revision that a report has brought to the broker."""
        self._topics = topics
        self._desired = desired
        self._store = store
        self._clock = clock
        self._outbox = Outbox()
        self._due: dict[ObjectKey, float] = {}
        self._unstored: set[ObjectKey] = set()
        self._store_by: float | None = None
        self._drafted = asyncio.Event()
        self._sealed = asyncio.Event()
        self._sending: dict[ObjectKey, int] = {}
        self._published: set[ObjectKey] = set()
        """Said in this connection: nobody can tell any more what the broker held of these."""
        self._linked = False

    async def load(self) -> None:
        """Before anything is put. Drafts that an older process left are due at once."""
        self._outbox = await self._store.load()
        for key, row in self._outbox.rows().items():
            if not row.sequence:
                self._due_within(key, 0)

    @property
    def waiting(self) -> int:
        """Reports that the broker does not have yet."""
        return sum(not row.sent for row in self._outbox.rows().values())

    def rows(self) -> Mapping[ObjectKey, Row]:
        """The newest report of every object."""
        return self._outbox.rows()

    @property
    def were_sent(self) -> bool:
        """Whether the broker has acknowledged any of what is here."""
        return any(row.sent for row in self._outbox.rows().values())

    @property
    def newest_sent(self) -> Row | None:
        """Of what the broker acknowledged before this connection, and must hold as it was."""
        rows = self._outbox.rows().values()
        sent = (row for row in rows if row.sent and row.key not in self._published)
        return max(sent, key=lambda row: row.sequence, default=None)

    # -- for those who report

    async def put(
        self,
        key: ObjectKey,
        *,
        uid: str,
        status: Json | None,
        events: Sequence[ReportedEvent] = (),
        finished: bool = False,
        within: float,
    ) -> None:
        """The newest status (None: unchanged) and new Events; sent ``within`` seconds."""
        if key.kind in ABOUT_PODS and not self._desired.concerns(key, uid):
            return
        now = self._clock.now()
        news = self._outbox.put(
            key, uid=uid, status=status, events=events, finished=finished, now=now
        )
        if news is not News.NOTHING:
            self._due_within(key, max(within, REPEAT_SECONDS) if news is News.REPEATS else within)

    def changed(self, keys: frozenset[ObjectKey]) -> None:
        """The desired set changed: forget reports of pods that are not in it any more."""
        pods = [key for key in keys if key.kind == "Pod"]
        self._forget_unwanted((*pods, *map(status_key, pods)))

    def recovered(self) -> None:
        """The desired set is loaded too. A crash that came between a list and what followed from it
        has left reports of pods that nobody will tell us about again."""
        self._forget_unwanted([key for key in self._outbox.rows() if key.kind in ABOUT_PODS])

    def _forget_unwanted(self, keys: Iterable[ObjectKey]) -> None:
        for key in keys:
            row = self._outbox.get(key)
            if row and not self._desired.concerns(key, row.uid):
                self._forget(key)

    def _forget(self, key: ObjectKey) -> None:
        self._outbox.drop(key)
        self._due.pop(key, None)
        self._store_soon({key})

    def mark_all_unsent(self) -> None:
        """The broker has lost what it kept for us."""
        again = self._outbox.mark_all_unsent()
        if again:
            log.info("all reports are sent again", reports=len(again))
            self._store_soon(again)
            self._sealed.set()

    # -- gathering

    async def run(self) -> None:
        while True:
            await woken(self._drafted, within=self._next_due())
            await self._gather()

    async def flush(self) -> bool:
        """Store what is drafted or marked, before the process ends; whether all is stored."""
        self._due = dict.fromkeys(self._due, 0.0)
        self._store_by = 0.0
        await self._gather()
        return not self._unstored

    def _due_within(self, key: ObjectKey, seconds: float) -> None:
        due = self._clock.monotonic() + seconds
        self._due[key] = min(due, self._due.get(key, due))
        self._drafted.set()

    def _store_soon(self, keys: Iterable[ObjectKey]) -> None:
        """Not worth a transaction of its own: with the next gather, or in some seconds."""
        self._unstored.update(keys)
        if self._store_by is None:
            self._store_by = self._clock.monotonic() + MARK_SECONDS
            self._drafted.set()

    def _next_due(self) -> float | None:
        times = [*self._due.values(), *([] if self._store_by is None else [self._store_by])]
        return max(0.0, min(times) - self._clock.monotonic()) if times else None

    async def _gather(self) -> None:
        now = self._clock.monotonic()
        keys = [key for key, due in self._due.items() if due <= now]
        for key in keys:
            del self._due[key]
        applied = self._desired.revision
        sealed = self._outbox.seal(keys, applied=applied, now=self._clock.now())
        self._unstored.update(row.key for row in sealed)
        if sealed or (self._store_by is not None and self._store_by <= now):
            await self._store_rows()
        if sealed:
            self._sealed.set()

    async def _store_rows(self) -> None:
        keys, self._unstored = self._unstored, set()
        self._store_by = None
        try:
            await self._store.save(keys)
        except StoreBusy as error:
            log.error("reports not stored, sent from memory", error=str(error), reports=len(keys))
            self._store_soon(keys)
        except BaseException:
            self._store_soon(keys)  # Given up in the middle: the last flush has them to store.
            raise

    async def deliver(self, *, within: float) -> bool:
        """Store and send all there is to say; whether every report was acknowledged in that time.

        Without a connection nothing is waited for: what is stored is sent by the next agent.
        """
        ends = self._clock.monotonic() + within
        await self.flush()
        while self._outbox.waiting() and self._linked and self._clock.monotonic() < ends:
            await self._clock.sleep(DELIVERY_LOOK_SECONDS)
        return not self._outbox.waiting()

    # -- sending

    async def send(self, connection: Connection) -> None:
        """As long as the connection."""
        self._linked = True
        refused: dict[ObjectKey, int] = {}
        self._sending = {}
        tasks: set[asyncio.Task[None]] = set()
        self._sealed.set()
        try:
            while True:
                await self._sealed.wait()
                self._sealed.clear()
                for row in self._outbox.waiting():
                    if row.sequence in (self._sending.get(row.key), refused.get(row.key)):
                        continue
                    self._sending[row.key] = row.sequence
                    self._published.add(row.key)
                    acknowledged = self._publish(connection, row)
                    settling = self._settle(row, acknowledged, refused=refused)
                    task = alone(settling, name=f"report of {row.key}")
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
        finally:
            self._linked = False
            self._published.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _publish(self, connection: Connection, row: Row) -> Awaitable[None] | None:
        """None when not even its smallest form fits."""
        for report in smaller(row.report()):
            try:
                return connection.publish(
                    self._topics.reported(row.key), report.encode(), retain=True
                )
            except TooLarge as error:
                log.warning("report is too large, made smaller", key=str(row.key), error=str(error))
            except (ValueError, TypeError, OverflowError, RecursionError) as error:
                # Of this report alone: the others, and the session, go on.
                log.error("report cannot be sent, made smaller", key=str(row.key), error=str(error))
        return None

    async def _settle(
        self, row: Row, acknowledged: Awaitable[None] | None, *, refused: dict[ObjectKey, int]
    ) -> None:
        try:
            if acknowledged is not None:
                await acknowledged
        except PermanentError as error:
            refused[row.key] = row.sequence
            log.error("report refused by the broker", key=str(row.key), error=str(error))
            return
        except TemporaryError:
            await self._clock.sleep(RETRY_SECONDS)  # Unless the connection ends before.
            self._sealed.set()
            return
        finally:
            if self._sending.get(row.key) == row.sequence:
                del self._sending[row.key]
        self.carried = max(self.carried, row.applied)
        if self._outbox.mark_sent(row.key, row.sequence):
            self._store_soon({row.key})
