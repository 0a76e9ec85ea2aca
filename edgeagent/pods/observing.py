"""What the runtime has, looked up no more often than needed.

Owns the agent's picture of its sandboxes. The cheap list tells what differs; only that is looked
up in full. A list is never evidence that something is gone: that takes a look at the thing itself.
Sandboxes without our mark were made by somebody else, and are not seen at all.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from edgeagent.pods import userids
from edgeagent.pods.live import LivePod
from edgeagent.pods.sandboxes import LABEL_NODE
from edgeagent.runtime.port import Runtime, Sandbox
from shared.tasks import stop

Shape = tuple[object, frozenset[tuple[str, object]]]


class Observer:
    """``look`` raises TemporaryError when the runtime does not answer: then nothing is known."""

    def __init__(self, runtime: Runtime, *, node: str) -> None:
        self._runtime = runtime
        self._node = node
        self._seen: dict[str, dict[str, Sandbox]] = defaultdict(dict)
        self._fresh: set[str] = set()
        self.first_ids: dict[str, set[int]] = {}
        """Which users are taken, by uid of the pod and by the last list; of other agents too."""
        self._listing: asyncio.Task[list[Sandbox]] | None = None
        self._next: asyncio.Task[list[Sandbox]] | None = None

    def changed(self, uid: str) -> None:
        """The next look at this pod asks the runtime."""
        self._fresh.discard(uid)

    def changed_all(self) -> None:
        self._fresh.clear()

    def forget(self, uid: str) -> None:
        self._fresh.discard(uid)
        self._seen.pop(uid, None)

    async def uids(self) -> set[str]:
        return {one.uid for one in await self._list()}

    async def look(self, uid: str) -> tuple[Sandbox, ...]:
        """The pod's sandboxes as they are now, newest attempt first."""
        if uid not in self._fresh:
            self._fresh.add(uid)
            try:
                await self._compare(uid)
            except BaseException:
                self._fresh.discard(uid)
                raise
        seen = self._seen.get(uid, {}).values()
        return tuple(sorted(seen, key=lambda one: one.attempt, reverse=True))

    async def inspect(self, uid: str, sandbox_id: str) -> None:
        """Look at one sandbox after something was done to it."""
        found = await self._runtime.inspect_sandbox(sandbox_id)
        if found is not None:
            self._seen[uid][sandbox_id] = found
        else:
            self._seen[uid].pop(sandbox_id, None)

    async def see(self, pod: LivePod, sandbox_id: str) -> None:
        """What became of the sandbox becomes what is known of the pod."""
        if sandbox_id:
            await self.inspect(pod.uid, sandbox_id)
            pod.sandboxes = await self.look(pod.uid)

    async def _compare(self, uid: str) -> None:
        listed = {one.id: one for one in await self._list() if one.uid == uid}
        known = self._seen.get(uid, {})
        differing = [
            sandbox_id
            for sandbox_id in sorted(listed.keys() | known.keys())
            if _shape(listed.get(sandbox_id)) != _shape(known.get(sandbox_id))
        ]
        await asyncio.gather(*(self.inspect(uid, sandbox_id) for sandbox_id in differing))

    async def _list(self) -> list[Sandbox]:
        """One list serves everybody who asked before it began."""
        if self._next is None:
            self._next = asyncio.create_task(self._list_after(self._listing), name="list runtime")
        return await asyncio.shield(self._next)

    async def _list_after(self, before: asyncio.Task[list[Sandbox]] | None) -> list[Sandbox]:
        if before is not None:
            await asyncio.wait({before})
        self._listing, self._next = self._next, None
        found = await self._runtime.list_sandboxes()
        self.first_ids = userids.written(found)
        return [one for one in found if one.labels.get(LABEL_NODE) == self._node]

    async def close(self) -> None:
        await stop(*(task for task in (self._listing, self._next) if task is not None))


def _shape(sandbox: Sandbox | None) -> Shape | None:
    if sandbox is None:
        return None
    return sandbox.state, frozenset((one.id, one.state) for one in sandbox.containers)
