"""Watches: what changed since a version, as a client with a selector must see it.

``Watch`` is the pure part: a cursor over the store's history that turns changes into events. A
watcher that falls behind the history gets one ERROR event with 410 and the end, never a gap.
``stream`` adds waiting: it yields until the deadline, with a bookmark now and then and at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass

from devcluster.apiserver import views
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.selectors import Predicate
from devcluster.apiserver.status import ApiError, Json, expired
from devcluster.apiserver.store import Change, Expired, Store
from shared.clock import Clock

BOOKMARK_SECONDS = 30.0
INITIAL_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class Event:
    kind: str
    """ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""
    obj: Json


@dataclass(frozen=True, slots=True)
class WatchQuery:
    resource: Resource
    namespace: str
    predicate: Predicate
    version: int
    """Changes after this one; 0 starts with what there is now, as ADDED."""
    bookmarks: bool
    initial_events: bool
    """Whether the client asked for the objects of now, and a bookmark where they end."""


class Watch:
    def __init__(self, store: Store, query: WatchQuery) -> None:
        self._store = store
        self._query = query
        self.version = query.version

    def start(self) -> list[Event]:
        """The first events; ``ApiError`` 410 when the history does not reach back that far."""
        if self._query.version and not self._query.initial_events:
            return self.catch_up()
        listed = self._store.list(self._query.resource.storage, self._query.namespace)
        self.version = self._store.version
        shown = [views.shown(self._query.resource, obj) for obj in listed]
        events = [Event("ADDED", obj) for obj in shown if self._query.predicate(obj)]
        if self._query.initial_events:
            events.append(self.bookmark({INITIAL_END: "true"}))
        return events

    def catch_up(self) -> list[Event]:
        """The events of every change since the last call."""
        try:
            changes = self._store.since(self._query.resource.storage, self.version)
        except Expired as error:
            raise expired(error.asked, error.oldest) from error
        events = list(self._events(changes))
        self.version = self._store.version
        return events

    def bookmark(self, annotations: dict[str, str] | None = None) -> Event:
        metadata: Json = {"resourceVersion": str(self.version), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        resource = self._query.resource
        head = {"kind": resource.kind, "apiVersion": resource.api_version}
        return Event("BOOKMARK", head | {"metadata": metadata})

    def _events(self, changes: Iterator[Change]) -> Iterator[Event]:
        for change in changes:
            if self._query.namespace in ("", change.key.namespace):
                event = self._event(change)
                if event is not None:
                    yield event

    def _event(self, change: Change) -> Event | None:
        """To a selector, an object that leaves it is deleted and one that enters it is new."""
        before, after = self._matching(change.before), self._matching(change.after)
        if after is not None:
            return Event("ADDED" if before is None else "MODIFIED", after)
        if before is None:
            return None
        if change.removed is not None:
            return Event("DELETED", views.shown(self._query.resource, change.removed))
        metadata = {**before["metadata"], "resourceVersion": str(change.version)}
        return Event("DELETED", {**before, "metadata": metadata})

    def _matching(self, obj: Json | None) -> Json | None:
        if obj is None:
            return None
        shown = views.shown(self._query.resource, obj)
        return shown if self._query.predicate(shown) else None


async def stream(
    store: Store, query: WatchQuery, *, clock: Clock, timeout: float, stopping: asyncio.Event
) -> AsyncGenerator[list[Event]]:
    """Batches of events until ``timeout`` seconds are over or the server stops.

    The first batch comes at once (it may be empty). A version that the history does not reach
    ends the watch with an ERROR event, at its start too, as a real server does.
    """
    watch = Watch(store, query)
    changed = asyncio.Event()
    unlisten = store.listen(_waker(query, changed))
    end = clock.monotonic() + timeout
    try:
        yield watch.start()
        while not stopping.is_set() and (left := end - clock.monotonic()) > 0:
            quiet = not await _either(changed, stopping, timeout=min(left, BOOKMARK_SECONDS))
            changed.clear()
            events = watch.catch_up()
            if events:
                yield events
            if quiet and query.bookmarks:
                yield [watch.bookmark()]
    except ApiError as error:
        yield [Event("ERROR", error.as_json())]
    finally:
        unlisten()


def _waker(query: WatchQuery, changed: asyncio.Event) -> Callable[[Change], None]:
    def wake(change: Change) -> None:
        if change.key.storage == query.resource.storage:
            changed.set()

    return wake


async def _either(changed: asyncio.Event, stopping: asyncio.Event, *, timeout: float) -> bool:
    """Whether one of the two happened before the time was over."""
    waits = [asyncio.ensure_future(event.wait()) for event in (changed, stopping)]
    try:
        done, _ = await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return bool(done)
