"""What the runtime has, looked up no more often than needed.

Owns the agent's picture of its sandboxes. The cheap list tells what differs; only that is looked
up in full. A list is never evidence that something is gone: that takes a look at the thing itself.
The list that told of a change serves for the look that follows it.
Looks at one pod come one after the other: an answer that was overtaken would show its past.
Sandboxes without our mark were made by somebody else, and are not seen at all.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from edgeagent.pods.live import LivePod
from edgeagent.pods.materials import userids
from edgeagent.pods.materials.sandboxes import LABEL_NODE
from edgeagent.runtime.looking import newest_first
from edgeagent.runtime.port import Change, Container, ContainerState, Runtime, Sandbox, SandboxState
from shared.joining import Joint


class Observer:
    """``look`` raises TemporaryError when the runtime does not answer: then nothing is known."""

    def __init__(self, runtime: Runtime, *, node: str) -> None:
        self._runtime = runtime
        self._node = node
        self._seen: dict[str, dict[str, Sandbox]] = defaultdict(dict)
        self._shown: dict[str, list[Sandbox]] = {}
        self._doubted: set[str] = set()
        """Pods of which a list that was begun before is not good enough."""
        self._fresh: set[str] = set()
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.first_ids: dict[str, set[int]] = {}
        """Which users are taken, by uid of the pod and by the last list; of other agents too."""
        self._lists = Joint(self._list, name="list runtime")

    def changed(self, uid: str) -> None:
        """The next look at this pod asks the runtime."""
        self._fresh.discard(uid)
        self._shown.pop(uid, None)
        self._doubted.add(uid)

    def changed_all(self) -> None:
        self._fresh.clear()
        self._shown.clear()

    def shows_news(self, change: Change) -> bool:
        """Whether the pod must be looked at: what it shows is not what is known."""
        known = self._seen.get(change.uid, {})
        listed = [_as_begun(one, known.get(one.id)) for one in self._ours(change.sandboxes)]
        if _all_states(listed) == _all_states(known.values()):
            return False
        self._fresh.discard(change.uid)
        if change.uid not in self._doubted:
            self._shown[change.uid] = listed
        return True

    def forget(self, uid: str) -> None:
        self._fresh.discard(uid)
        self._seen.pop(uid, None)
        self._shown.pop(uid, None)
        self._doubted.discard(uid)
        self._turns.pop(uid, None)

    async def uids(self) -> set[str]:
        return {one.uid for one in await self._lists.ask()}

    async def look(self, uid: str) -> tuple[Sandbox, ...]:
        """The pod's sandboxes as they are now, newest attempt first."""
        if uid not in self._fresh:
            self._fresh.add(uid)
            try:
                async with self._turns[uid]:
                    await self._compare(uid)
            except BaseException:
                self._fresh.discard(uid)
                raise
        seen = self._seen.get(uid, {}).values()
        return tuple(sorted(seen, key=lambda one: one.attempt, reverse=True))

    async def see(self, pod: LivePod, sandbox_id: str, *, new: bool = False) -> None:
        """What became of the sandbox becomes what is known of the pod."""
        if sandbox_id:
            async with self._turns[pod.uid]:
                await self._inspect(pod.uid, sandbox_id, new=new)
            pod.sandboxes = await self.look(pod.uid)

    async def see_container(self, pod: LivePod, sandbox_id: str, container_id: str) -> None:
        """The same, of one container in it."""
        if sandbox_id:
            async with self._turns[pod.uid]:
                await self._inspect_containers(pod.uid, sandbox_id, [container_id])
            pod.sandboxes = await self.look(pod.uid)

    async def _compare(self, uid: str) -> None:
        shown = self._shown.pop(uid, None)
        self._doubted.discard(uid)
        found = await self._lists.ask() if shown is None else shown
        listed = {one.id: one for one in found if one.uid == uid}
        known = dict(self._seen.get(uid, {}))
        for sandbox_id in sorted(listed.keys() | known.keys()):
            await self._update(uid, sandbox_id, listed.get(sandbox_id), known.get(sandbox_id))

    async def _update(
        self, uid: str, sandbox_id: str, listed: Sandbox | None, known: Sandbox | None
    ) -> None:
        if listed is None or known is None or listed.state != known.state:
            await self._inspect(uid, sandbox_id)
            return
        if created := _new_ones(listed, known):
            known = replace(known, containers=newest_first([*known.containers, *created]))
            self._seen[uid][sandbox_id] = known
        if differing := _states(listed).items() ^ _states(known).items():
            await self._inspect_containers(uid, sandbox_id, {name for name, _ in differing})

    async def _inspect(self, uid: str, sandbox_id: str, *, new: bool = False) -> None:
        new = new and sandbox_id not in self._seen[uid]  # Else somebody has looked already.
        found = await self._runtime.inspect_sandbox(sandbox_id, new=new)
        if found is not None:
            self._seen[uid][sandbox_id] = found
        else:
            self._seen[uid].pop(sandbox_id, None)

    async def _inspect_containers(self, uid: str, sandbox_id: str, ids: Collection[str]) -> None:
        """Of a sandbox that is known and has not changed itself."""
        known = self._seen[uid].get(sandbox_id)
        if known is None:
            await self._inspect(uid, sandbox_id)
            return
        looked_up = [await self._runtime.inspect_container(one, sandbox_id) for one in sorted(ids)]
        others = [one for one in known.containers if one.id not in ids]
        containers = newest_first([*others, *(one for one in looked_up if one)])
        self._seen[uid][sandbox_id] = replace(known, containers=containers)

    async def _list(self) -> list[Sandbox]:
        found = await self._runtime.list_sandboxes()
        self.first_ids = userids.written(found)
        return self._ours(found)

    def _ours(self, sandboxes: Iterable[Sandbox]) -> list[Sandbox]:
        return [one for one in sandboxes if one.labels.get(LABEL_NODE) == self._node]

    async def close(self) -> None:
        await self._lists.close()


def _as_begun(listed: Sandbox, known: Sandbox | None) -> Sandbox:
    """Without containers that were merely made: who made them says what becomes of them, and an
    older list may still show one that is gone."""
    if known is None or not (made := _new_ones(listed, known)):
        return listed
    return replace(listed, containers=tuple(one for one in listed.containers if one not in made))


def _new_ones(listed: Sandbox, known: Sandbox) -> list[Container]:
    """Made and not started: there is nothing to look up yet."""
    before = _states(known)
    return [
        one
        for one in listed.containers
        if one.id not in before and one.state is ContainerState.CREATED
    ]


def _states(sandbox: Sandbox) -> dict[str, ContainerState]:
    return {one.id: one.state for one in sandbox.containers}


def _all_states(
    sandboxes: Iterable[Sandbox],
) -> dict[str, tuple[SandboxState, Mapping[str, ContainerState]]]:
    return {one.id: (one.state, _states(one)) for one in sandboxes}
