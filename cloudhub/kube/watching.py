"""An endless, correct watch out of list and watch requests that end for a hundred reasons.

Three layers, each an async generator: ``forever`` (a list, then watches, again when the server
forgot our version) → ``_one_life`` (LISTED, then watch after watch from the version reached) →
``_one_request``. Invariant: LISTED is only ever made of a complete list that the server answered;
an error in the middle leads to another try, never to fewer objects. Errors end here, logged.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from cloudhub.kube.packed import Packed
from cloudhub.kube.port import Change, Resource, WatchEvent
from shared.backoff import Backoff
from shared.clock import Clock
from shared.errors import KubeError, KubeRefused
from shared.objects import Json

log = structlog.get_logger()

PAGE = 500
"""Objects per page of a list."""
WATCH_SECONDS = (240, 360)
"""A watch is asked to end by itself after this long; spread, so that not all end together."""
SILENCE_MARGIN = 20.0
"""Seconds after that at which a silent connection counts as dead."""
BOOKMARKED_SILENCE = 150.0
"""The same for a server that sends bookmarks, about one a minute: nothing else tells through a
load balancer that the server behind it hangs."""
SHORT = 1.0
"""A watch without any event that ends faster than this counts as a failure."""
TRIES = 4
"""Failed watches in a row from one version, after which the list is asked for again."""


@dataclass(frozen=True, slots=True)
class Query:
    resource: Resource
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    metadata_only: bool = False

    @property
    def parameters(self) -> dict[str, str]:
        return {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}


class Source(Protocol):
    """The two requests that a watch is made of."""

    async def page(self, query: Query, parameters: Mapping[str, str]) -> Json: ...

    def lines(
        self, query: Query, parameters: Mapping[str, str], *, silence: float
    ) -> AsyncGenerator[bytes, None]: ...


class Gone(Exception):
    """The server does not have our version any more: list again. Never leaves this module."""


class Watching:
    """One resource under watch; ``forever`` has one reader."""

    def __init__(self, source: Source, query: Query, *, clock: Clock, rng: random.Random) -> None:
        self._source = source
        self._query = query
        self._clock = clock
        self._rng = rng
        self._version = ""
        self._bookmarks = 0
        """Of the watch, or of the last one until the next begins."""
        self._log = log.bind(resource=query.resource.plural, namespace=query.namespace or "(all)")

    async def forever(self) -> AsyncIterator[WatchEvent]:
        backoff = Backoff(1, 60, self._rng)
        while True:
            at_least: float | None = 0.0
            try:
                async with aclosing(self._one_life()) as events:
                    async for event in events:
                        backoff.reset()
                        yield event
            except Gone as gone:
                self._log.info("list again", cause=str(gone))
            except KubeError as error:
                at_least = error.delay
                self._log.warning("list failed", error=str(error))
            except KubeRefused as refused:
                at_least = 5.0
                self._log.error("list refused", error=str(refused), status=refused.status)
            await self._clock.sleep(backoff.next(at_least=at_least))

    async def list_all(self) -> tuple[Packed, str]:
        """Every object, and the version of the whole; raises rather than give a part of it."""
        try:
            return await self._pages(PAGE)
        except KubeRefused as refused:
            if refused.status != 410:
                raise
            return await self._pages(0)

    # -- layer 2

    async def _one_life(self) -> AsyncGenerator[WatchEvent, None]:
        objects, self._version = await self.list_all()
        yield WatchEvent(Change.LISTED, objects=objects, version=self._version)
        del objects
        backoff = Backoff(0.2, 30, self._rng)
        doubtful = False
        while backoff.failures < TRIES:
            started, version = self._clock.monotonic(), self._version
            seconds = self._rng.randint(*WATCH_SECONDS)
            error: KubeError | KubeRefused | None = None
            try:
                if doubtful:
                    await self._check_version()
                async with aclosing(self._one_request(seconds)) as events:
                    async for event in events:
                        yield event
            except (KubeError, KubeRefused) as failure:
                error = failure
            if self._version != version:
                backoff.reset()
            lasted = self._clock.monotonic() - started
            doubtful = error is not None or lasted < seconds
            if error is not None or lasted < SHORT:
                await self._pause(error, backoff)
        raise Gone(f"{TRIES} watches failed in a row")

    async def _check_version(self) -> None:
        """A watch that ended before its time may have been ended by a server that was restored from
        a backup. One from a version which the server has yet to reach would say nothing till then.
        """
        anything = replace(self._query, label_selector="", field_selector="", metadata_only=True)
        page = await self._source.page(anything, {"limit": "1"})
        version = str((page.get("metadata") or {}).get("resourceVersion"))
        if version.isdecimal() and self._version.isdecimal() and int(version) < int(self._version):
            raise Gone(f"the server went back from version {self._version} to {version}")

    async def _pause(self, error: KubeError | KubeRefused | None, backoff: Backoff) -> None:
        """Before the next watch from the same version, unless the server forgot that version."""
        if isinstance(error, KubeRefused) and error.status == 410:
            raise Gone(str(error)) from error
        delay = backoff.next(at_least=error.delay if isinstance(error, KubeError) else None)
        cause = str(error) if error else "ended at once"
        self._log.warning("watch broke", error=cause, retry_in=round(delay, 1))
        await self._clock.sleep(delay)

    # -- layer 3

    async def _one_request(self, seconds: int) -> AsyncGenerator[WatchEvent, None]:
        parameters = {
            **self._query.parameters,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        # Known anew from each watch: a server may stop sending them.
        silence = BOOKMARKED_SILENCE if self._bookmarks > 1 else seconds + SILENCE_MARGIN
        self._bookmarks = 0
        lines = self._source.lines(self._query, parameters, silence=silence)
        async with aclosing(lines) as stream:
            async for line in stream:
                if line.strip() and (event := self._event(line)):
                    yield event

    def _event(self, line: bytes) -> WatchEvent | None:
        """One line of a watch; None for a bookmark. Moves the version on."""
        kind, obj = self._parsed(line)
        if kind == "ERROR":
            raise _watch_error(obj)
        version = obj.get("metadata", {}).get("resourceVersion")
        if not isinstance(version, str) or not version:
            raise KubeError(f"a watch event {kind!r:.40} without resourceVersion")
        self._version = version
        if kind in ("ADDED", "MODIFIED"):
            return WatchEvent(Change.SET, _lean(obj), version=version)
        if kind == "DELETED":
            return WatchEvent(Change.DELETED, _lean(obj), version=version)
        self._bookmarks += kind == "BOOKMARK"
        return None

    def _parsed(self, line: bytes) -> tuple[str, Json]:
        try:
            event = json.loads(line)
            kind, obj = event["type"], event["object"]
        except (ValueError, KeyError, TypeError) as error:
            raise KubeError(f"a watch line that cannot be read: {line[:80]!r}") from error
        if not isinstance(kind, str) or not isinstance(obj, dict):
            raise KubeError(f"a watch line that cannot be read: {line[:80]!r}")
        return kind, obj

    async def _pages(self, limit: int) -> tuple[Packed, str]:
        objects = Packed()
        parameters = {**self._query.parameters, "limit": str(limit) if limit else ""}
        while True:
            page = await self._source.page(self._query, parameters)
            items, metadata = page.get("items"), page.get("metadata")
            if not str(page.get("kind", "")).endswith("List") or not isinstance(metadata, dict):
                raise KubeError(f"list {self._query.resource.plural}: the answer is not a list")
            for item in items or ():
                objects.add(_lean(item))
            if not metadata.get("continue"):
                return objects, str(metadata.get("resourceVersion") or "")
            parameters["continue"] = metadata["continue"]


def _lean(obj: Json) -> Json:
    """Without the record of who set which field: often half of an object, and of no use here."""
    obj["metadata"].pop("managedFields", None)
    return obj


def _watch_error(status: Json) -> Exception:
    text = str(status.get("message") or status.get("reason") or "no reason given")[:500]
    if status.get("code") == 410 or status.get("reason") in ("Expired", "Gone"):
        return Gone(text)
    return KubeError(f"the server ended the watch: {text}", status=status.get("code") or 0)
