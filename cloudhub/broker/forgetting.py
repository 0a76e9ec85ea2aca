"""Notices that a broker lost reports which it had acknowledged, and has them sent again.

A broker that crashes goes back to what it had saved. A hub that lives remembers the newer reports
and puts them back; one that starts afterwards would take the older ones for the newest. But a birth
names the newest report that was acknowledged: when it is not here some seconds later, nor a newer
one of its object, the hub clears the session topic, by which an agent knows that it is to say
everything again. At most once for each birth. Owned by ``uplink.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from cloudhub.fleet.reports import ReportBook
from shared.clock import Clock
from shared.messages import Session
from shared.tasks import KeyedWorkers

log = structlog.get_logger()

WAIT = 5.0
"""Seconds in which what the broker retains comes."""


class Forgetting:
    def __init__(self, book: ReportBook, ask: Callable[[str], None], *, clock: Clock) -> None:
        """``ask`` makes the agent of a node send all its reports."""
        self._book = book
        self._ask = ask
        self._clock = clock
        self._births: dict[str, Session] = {}
        self._due: dict[str, float] = {}
        self._asked: dict[str, tuple[str, int]] = {}
        self._workers = KeyedWorkers(self._compare, clock=clock, name="reports of")

    def born(self, node: str, session: Session) -> None:
        if session.reported:
            self._births[node] = session
            self._due[node] = self._clock.monotonic() + WAIT
            self._workers.wake(node)

    def gone(self, node: str) -> None:
        """Nobody is there to be asked, or it is not ours to ask."""
        self._births.pop(node, None)

    def forget(self, node: str) -> None:
        """It is another replica's now."""
        self.gone(node)
        self._asked.pop(node, None)

    def all_gone(self) -> None:
        self._births.clear()

    async def stop(self) -> None:
        await self._workers.stop()

    async def _compare(self, node: str) -> float | None:
        wait = self._due.get(node, 0.0) - self._clock.monotonic()
        if wait > 0:
            return wait
        self._due.pop(node, None)
        birth = self._births.pop(node, None)
        if birth is None or self._book.has(node, birth.reported, birth.about):
            return None
        which = (birth.instance, birth.counter)
        if self._asked.get(node) != which:
            self._asked[node] = which
            log.warning("the broker has lost reports of a node; they are asked for", node=node)
            self._ask(node)
        return None
