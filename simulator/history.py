"""What users did to pods, by uid: the evidence against which every act of an agent is judged.

Written by a watch of its own that is never broken or late, so it always knows at least as much as
any hub or agent can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cloudhub.fleet.pods import is_mirror
from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import NODES, PODS, Change, WatchEvent
from shared.objects import Json
from shared.tasks import run_together
from simulator.journal import Journal
from simulator.runtime import Run
from simulator.users import PLACE


@dataclass(slots=True)
class PodStory:
    uid: str
    namespace: str
    name: str
    node: str
    policy: str
    priority: int = 0
    tolerates: bool = False
    """Whatever people taint its node with."""
    place: str = ""
    """The label that it asks its node for."""
    born: float = 0.0
    """When it was first there."""
    images: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    """By container: since when the API has said which image."""
    doomed: float | None = None
    """When the pod was marked for deletion or removed, also if a backup has it again."""
    returned: bool = False
    """A backup of the API server took back its deletion or its binding: a device may have begun to
    stop it, and may have finished with it."""
    unbound: str = ""
    """The node that a backup took it from, which may start it yet, not having heard of that."""
    phases: list[str] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """The API has called it finished: that is not taken back."""
        return not {"Succeeded", "Failed"}.isdisjoint(self.phases)

    @property
    def over(self) -> bool:
        """Nobody wants it to run any more."""
        return self.doomed is not None or self.finished

    def belongs_to(self, node: str) -> bool:
        return node in (self.node, self.unbound)

    def ends(self, run: Run) -> bool:
        """Whether what users did is cause enough to stop this container."""
        return self.doomed is not None or self._replaced_since(run.name, run.image, run.started)

    def _replaced_since(self, container: str, image: str, started: float) -> bool:
        """Whether the API has named another image since it first named this one.

        Not since it last did: a device that was away starts what it has stored, and is then told
        in order all that was in between. Which of two equal versions it had cannot be seen.
        """
        said = self.images.get(container, [])
        before = [at for at, name in said if name == image and at <= started]
        since = before[0] if before else started
        return any(name != image and at >= since for at, name in said)


class History:
    def __init__(
        self,
        server: MemoryKube,
        loop: asyncio.AbstractEventLoop,
        journal: Journal,
        *,
        running: Callable[[str], list[Run]],
    ) -> None:
        """``running``: by pod uid, what runs of it on devices that remember all they did."""
        self._server = server
        self._loop = loop
        self._journal = journal
        self.pods: dict[str, PodStory] = {}
        self.condemned: set[str] = set()
        """Pods that a user has deleted."""
        self._forced: set[str] = set()
        """Those that users wanted gone at once, whatever their device does."""
        self._running = running
        self.maintained: set[str] = set()
        """Nodes that people have tainted at some time."""
        self._places: dict[str, list[tuple[float, str]]] = {}
        """By node: since when the API has said which label."""

    def condemn(self, uid: str, *, forced: bool) -> None:
        """A user is about to delete the pod; ``forced``: with a grace period of zero."""
        self.condemned.add(uid)
        if forced:
            self._forced.add(uid)

    async def run(self) -> None:
        await run_together(pods=self._watch_pods(), nodes=self._watch_nodes())

    def stands_elsewhere(self, story: PodStory, node: str) -> bool:
        """Whether the node had another label at any time since the pod was there."""
        said = self._places.get(node, [])
        at_first = [place for since, place in said if since <= story.born][-1:] or [""]
        later = [place for since, place in said if since > story.born]
        return any(place != story.place for place in (*at_first, *later))

    async def _watch_pods(self) -> None:
        async for event in self._server.watch(PODS):
            self._take(event)

    async def _watch_nodes(self) -> None:
        async for event in self._server.watch(NODES):
            if event.change is Change.LISTED:
                self._note_places(event.objects)
            elif event.change is Change.SET:
                self._note_place(event.object)
            else:
                self._note_place({"metadata": {"name": event.object["metadata"]["name"]}})

    def _note_places(self, nodes: Iterable[Json]) -> None:
        there = {node["metadata"]["name"]: node for node in nodes}
        for name in sorted(there.keys() | self._places.keys()):
            self._note_place(there.get(name) or {"metadata": {"name": name}})

    def _note_place(self, node: Json) -> None:
        metadata = node["metadata"]
        place = (metadata.get("labels") or {}).get(PLACE, "")
        said = self._places.setdefault(metadata["name"], [])
        if not said or said[-1][1] != place:
            said.append((self._loop.time(), place))

    def _take(self, event: WatchEvent) -> None:
        if event.change is Change.LISTED:
            self._restored(event.objects)
        for pod in event.objects:
            self._note(pod)
        if event.change is Change.SET:
            self._note(event.object)
        elif event.change is Change.DELETED:
            self._note(event.object)
            self._doom(event.object)
            self._judge_end(event.object)

    def _judge_end(self, pod: Json) -> None:
        """A deletion ends when the device has stopped the pod: another of its name may begin."""
        uid = pod["metadata"]["uid"]
        story = self.pods.get(uid)
        if story is None or story.returned or uid in self._forced:
            return
        for run in self._running(uid):
            self._journal.fail("ended-early", f"pod {story.name}, while {run.container_id} runs")

    def _restored(self, pods: Iterable[Json]) -> None:
        """Only a backup lists pods again: whatever it has not is gone, and the API said so."""
        there = {pod["metadata"]["uid"]: pod for pod in pods}
        for uid, story in self.pods.items():
            pod = there.get(uid)
            if pod is not None and story.node != pod["spec"].get("nodeName", ""):
                story.unbound = story.node or story.unbound
            if pod is None or story.unbound:
                story.doomed = story.doomed or self._loop.time()
            if pod is not None and story.doomed is not None:
                story.returned = True
                if not pod["metadata"].get("deletionTimestamp"):
                    self.condemned.discard(uid)

    def _note(self, pod: Json) -> None:
        """A mirror pod is no evidence of anything: what it shows is the device's to decide."""
        if is_mirror(pod):
            return
        metadata, spec = pod["metadata"], pod["spec"]
        story = self.pods.get(metadata["uid"])
        if story is None:
            story = self.pods[metadata["uid"]] = PodStory(
                uid=metadata["uid"],
                namespace=metadata["namespace"],
                name=metadata["name"],
                node="",
                policy=spec.get("restartPolicy", "Always"),
                priority=spec.get("priority", 0),
                tolerates=bool(spec.get("tolerations")),
                place=(spec.get("nodeSelector") or {}).get(PLACE, ""),
                born=self._loop.time(),
            )
        story.node = spec.get("nodeName", "")
        for container in spec["containers"]:
            said = story.images.setdefault(container["name"], [])
            if not said or said[-1][1] != container["image"]:
                said.append((self._loop.time(), container["image"]))
        phase = (pod.get("status") or {}).get("phase", "")
        if not story.phases or story.phases[-1] != phase:
            story.phases.append(phase)
        if metadata.get("deletionTimestamp"):
            self._doom(pod)

    def _doom(self, pod: Json) -> None:
        story = self.pods.get(pod["metadata"]["uid"])
        if story is not None and story.doomed is None:
            story.doomed = self._loop.time()
            if pod["metadata"]["uid"] not in self.condemned:
                self._journal.fail("stolen", f"pod {story.name} was deleted, by no user")
