"""Which pods changed: push where the runtime has it, a cheap look at the lists always.

Owns the pace of looking. What a pod looks like is the set of (id, state) pairs of its sandboxes
and containers from the two list calls; whatever differs between two looks is yielded, with what
the list shows of it. A push only says "look now", so a lost, early or unknown one costs time and
never a change:

* ``GetContainerEvents`` (containerd 2.0 and newer, CRI-O when enabled), else
* containerd's own event service on the same socket (containerd 1.6 and 1.7), which runs ahead of
  the lists, by tens of milliseconds or, on a slow disk, more: hence several looks after each push,
  else
* looking on its own: four times a second while something changes, once a second when idle.

What comes to life is nearly always the agent's own doing, and who did it looks at it by itself:
a push that tells of a start hurries nobody.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import chain, repeat
from typing import Any

from edgeagent.runtime.abilities import tells_all_followers
from edgeagent.runtime.cri_channel import QUERY_SECONDS, CriChannel
from edgeagent.runtime.cri_errors import translated
from edgeagent.runtime.cri_messages import cri
from edgeagent.runtime.looking import Looks, changes, looks
from edgeagent.runtime.port import Change, RuntimeAway, Sandbox
from shared.errors import KubetideError

_POLLED = ((0.25, 0.25, 0.25, 0.25), 1.0)
_PUSHED = ((0.06, 0.12, 0.25, 0.5, 1.0, 2.0), 10.0)
"""Seconds between looks after a change or a push, and when nothing happens."""
_LAG = 0.03
"""Seconds that a push is usually ahead of the lists."""
_APART = 0.25
"""Seconds between looks while pushes go on and on: in a burst each look costs all."""
_QUIET = 0.5
"""A pause of that many seconds without a push ends a burst."""
_STARTED = 0.5
"""Seconds that a look may wait when all that is pushed are starts."""

_SUBSCRIBE = "/containerd.services.events.v1.Events/Subscribe"
_FILTER = rb'namespace==k8s.io,topic~="^/(tasks/(start|exit|delete)|containers/delete)"'
# One length-prefixed string, field 1: a SubscribeRequest with one filter.
_SUBSCRIPTION = b"\n" + bytes([len(_FILTER)]) + _FILTER
# A process started by exec ends with two different ids, container and process, one after the
# other in the message. Health checks do that all day and it is no change of a container.
_END_OF_EXEC = re.compile(rb"\n@([0-9a-f]{64})\x12@(?!\1)[0-9a-f]{64}")
_START = b"\x1a\x0c/tasks/start"  # The topic, field 3 of an Envelope.
_STARTS = (cri.CONTAINER_CREATED_EVENT, cri.CONTAINER_STARTED_EVENT)


class CriEvents:
    """One follower at a time; ``pushed`` says whether the runtime has pushed anything to it."""

    def __init__(
        self, channel: CriChannel, list_sandboxes: Callable[[], Awaitable[list[Sandbox]]]
    ) -> None:
        self._channel = channel
        self._list = list_sandboxes
        self._woken = asyncio.Event()
        self._hurried = False
        """Whether what woke may be ahead of the lists, so that one look is not enough."""
        self._wakes_at = 0.0
        """When starts that were pushed are looked at, or were."""
        self.pushed = False

    async def follow(self) -> AsyncIterator[Change]:
        listener = asyncio.create_task(self._listen(), name="runtime events")
        listener.add_done_callback(lambda _: self._woken.set())
        seen: Looks = {}
        apart = _LAG
        pauses, pushed = self._pauses(), self.pushed
        try:
            while True:
                looked = asyncio.get_running_loop().time()
                listed = await self._list()
                changed = changes(seen, listed)
                seen = looks(listed)
                for change in changed:
                    yield change
                if (changed and not self.pushed) or self.pushed is not pushed:
                    pauses, pushed = self._pauses(), self.pushed
                pause = next(pauses)
                if await self._pause(pause, listener, not_before=looked + apart):
                    apart = min(2 * apart, _APART)
                    if self._hurried:
                        pauses, self._hurried = self._pauses(), False
                elif pause >= _QUIET:
                    apart = _LAG
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    def _pauses(self) -> Iterator[float]:
        soon, idle = _PUSHED if self.pushed else _POLLED
        return chain(soon, repeat(idle))

    async def _pause(
        self, seconds: float, listener: asyncio.Task[None], *, not_before: float
    ) -> bool:
        """Whether a push cut it short; a listener that broke ends the following."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        await asyncio.sleep(max(_LAG, not_before - asyncio.get_running_loop().time()))
        self._woken.clear()
        if listener.done():
            listener.result()
        return True

    def _wake_later(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._wakes_at:
            self._wakes_at = now + _STARTED
            asyncio.get_running_loop().call_at(self._wakes_at, self._woken.set)

    async def _listen(self) -> None:
        """Returns when the runtime refuses every stream; raises when a working one ends."""
        for method, request in await self._sources():
            self.pushed = False
            try:
                await self._wake_on(method, request)
            except KubetideError as error:
                if self.pushed or isinstance(error, RuntimeAway):
                    raise

    async def _sources(self) -> tuple[tuple[Any, Any], ...]:
        """Streams that may push, the best one first."""
        own = (self._channel.stream_of_bytes(_SUBSCRIBE), _SUBSCRIPTION)
        of_cri = (self._channel.runtime.GetContainerEvents, cri.GetEventsRequest())
        with translated("Version"):
            asked = self._channel.runtime.Version(cri.VersionRequest(), timeout=QUERY_SECONDS)
            version = await asked
        told = tells_all_followers(version.runtime_name, version.runtime_version)
        return (of_cri, own) if told else (own, of_cri)

    async def _wake_on(self, method: Any, request: Any) -> None:
        with translated("follow events"):
            async with method.open() as stream:
                await stream.send_message(request, end=True)
                async for message in stream:
                    self.pushed = True
                    if _tells_of_a_start(message):
                        self._wake_later()
                    elif not isinstance(message, bytes) or not _END_OF_EXEC.search(message):
                        self._hurried = True
                        self._woken.set()
        if self.pushed:
            raise RuntimeAway("the container runtime ended its events")


def _tells_of_a_start(message: Any) -> bool:
    if isinstance(message, bytes):
        return _START in message
    return message.container_event_type in _STARTS
