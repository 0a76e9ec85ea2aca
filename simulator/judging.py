"""Judges every start and stop of a container at the moment it happens.

The rule of the project: nothing is stopped or restarted without positive, valid, newer evidence.
The causes that count are in the API's history (deleted, image replaced), for static pods in the
device's files, and in what happened to the device (the container died, the machine or the runtime
lost it, the machine is being shut down).
"""

from __future__ import annotations

import asyncio

from simulator.history import History, PodStory
from simulator.journal import Journal
from simulator.manifests import Manifests, StaticStory
from simulator.runtime import Run
from simulator.shutdowns import Shutdowns


class Judge:
    """One per device."""

    def __init__(
        self,
        name: str,
        *,
        journal: Journal,
        history: History,
        manifests: Manifests | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._name = name
        self._journal = journal
        self._history = history
        self._manifests = manifests
        self._seen: dict[tuple[str, str], list[Run]] = {}
        self.shutdowns = Shutdowns(loop.time, self._priority)
        self._forgotten: set[str] = set()
        """Pods of before the device lost its memory: finished work may be done again."""

    def starts(self, run: Run, running: list[Run]) -> None:
        story = self._story(run)
        before = self._seen.setdefault((run.uid, run.name), [])
        self._journal.say(
            self._name,
            f"starts {run.container_id}",
            pod=story.name if story else run.uid,
            of=run.name,
        )
        if any((one.uid, one.name) == (run.uid, run.name) for one in running):
            self._fail("double-start", run, "while the one before still runs")
        elif isinstance(story, StaticStory) and self._is_beside_another(story, running):
            self._fail("double-start", run, "while the static pod of its name before still runs")
        if story is None:
            self._fail("unknown-pod", run, "of a pod that neither the API nor a file ever had")
        elif not story.belongs_to(self._name):
            self._fail("wrong-node", run, f"of a pod of {story.node or 'no node'}")
        elif before and not self.forgets(run.uid):
            self._judge_rerun(run, before[-1], story.policy)
        before.append(run)

    def _judge_rerun(self, run: Run, last: Run, policy: str) -> None:
        finished = policy == "Never" or (policy == "OnFailure" and last.exit_code == 0)
        if finished and not last.by_agent:
            self._fail("rerun", run, f"again under restartPolicy {policy}")

    def stops(self, run: Run, running: list[Run]) -> None:
        story = self._story(run)
        pod = story.name if story else run.uid
        self._journal.say(self._name, f"stops {run.container_id}", pod=pod, of=run.name)
        if story is None or story.ends(run) or self._began_once_more(story):
            return
        if not self.shutdowns.explains(run, for_good=story.policy == "Never"):
            self._fail("unprovoked-stop", run, "though nobody deleted or changed its pod")
        elif other := self.shutdowns.out_of_turn(run, running):
            self._fail("out-of-turn", run, f"before {other.container_id} of a regular pod")

    def _began_once_more(self, story: PodStory | StaticStory) -> bool:
        """What had finished, on a device that forgot it. Otherwise the API's word is no cause: it
        is what the agent told."""
        return isinstance(story, PodStory) and story.finished and self.forgets(story.uid)

    def answers_again(self) -> None:
        """A stop that began before goes on now, though what it was for may be over."""
        self.shutdowns.agent_can_act()

    def lets_go(self, running: list[Run]) -> None:
        """The agent lets the machine go down."""
        if left := self.shutdowns.abandoned(running):
            self._fail("abandoned", left, "had time to stop when the machine was let go down")

    def runs_of(self, uid: str, container: str) -> list[Run]:
        return self._seen.get((uid, container), [])

    def returned(self, uid: str) -> bool:
        """Whether a backup took back its deletion, which the device may have begun by then."""
        story = self._history.pods.get(uid)
        return story is not None and story.returned

    def may_refuse(self, uid: str, *, for_label: bool) -> bool:
        """Whether a taint, or a label that it does not ask for, may have met the pod at the door:
        one that has run was taken up."""
        story = self._history.pods.get(uid)
        if story is None or not self._met(story, for_label=for_label):
            return False
        return self.forgets(uid) or not any(of == uid for of, _ in self._seen)

    def _met(self, story: PodStory, *, for_label: bool) -> bool:
        if for_label:
            return bool(story.place) and self._history.stands_elsewhere(story, self._name)
        return not story.tolerates and self._name in self._history.maintained

    def _priority(self, run: Run) -> int | None:
        story = self._story(run)
        return None if story is None or story.over else story.priority

    def forgets(self, uid: str) -> bool:
        """Whether what was counted of this pod may begin anew."""
        static = self._manifests.pods.get(uid) if self._manifests else None
        story = static or self._history.pods.get(uid)
        return uid in self._forgotten or (story is not None and story.returned)

    def forget(self) -> None:
        """The device has lost its memory of all that there is."""
        self._forgotten |= self._history.pods.keys()
        self._forgotten |= self._manifests.pods.keys() if self._manifests else set()

    def _story(self, run: Run) -> PodStory | StaticStory | None:
        static = self._manifests.pods.get(run.uid) if self._manifests else None
        return static or self._history.pods.get(run.uid)

    def _is_beside_another(self, story: StaticStory, running: list[Run]) -> bool:
        known = self._manifests.pods if self._manifests else {}
        others = (known[one.uid] for one in running if one.uid in known and one.uid != story.uid)
        return any(other.key == story.key for other in others)

    def _fail(self, rule: str, run: Run, what: str) -> None:
        self._journal.fail(
            rule, f"{self._name}: {run.container_id} ({run.uid[-4:]}/{run.name}) {what}"
        )
