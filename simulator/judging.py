"""Judges every start and stop of a container at the moment it happens.

The rule of the project: nothing is stopped or restarted without positive, valid, newer evidence.
The causes that count are in the API's history (deleted, image replaced) and in the device's own
(the container died, the machine or the runtime lost it).
"""

from __future__ import annotations

from simulator.history import History
from simulator.journal import Journal
from simulator.runtime import Run


class Judge:
    """One per device."""

    def __init__(self, name: str, *, journal: Journal, history: History) -> None:
        self._name = name
        self._journal = journal
        self._history = history
        self._seen: dict[tuple[str, str], list[Run]] = {}
        self.forgives = False
        """The device has lost its memory: finished work may be done again."""

    def starts(self, run: Run, running: list[Run]) -> None:
        story = self._history.pods.get(run.uid)
        before = self._seen.setdefault((run.uid, run.name), [])
        pod = story.name if story else run.uid
        self._journal.say(self._name, f"starts {run.container_id}", pod=pod, of=run.name)
        if any(other.name == run.name for other in running):
            self._fail("double-start", run, "while the one before still runs")
        if story is None:
            self._fail("unknown-pod", run, "of a pod that the API never had")
        elif story.node != self._name:
            self._fail("wrong-node", run, f"of a pod of {story.node or 'no node'}")
        elif before and not self.forgives:
            self._judge_rerun(run, before[-1], story.policy)
        before.append(run)

    def _judge_rerun(self, run: Run, last: Run, policy: str) -> None:
        finished = policy == "Never" or (policy == "OnFailure" and last.exit_code == 0)
        if finished and not last.by_agent:
            self._fail("rerun", run, f"again under restartPolicy {policy}")

    def stops(self, run: Run) -> None:
        story = self._history.pods.get(run.uid)
        pod = story.name if story else run.uid
        self._journal.say(self._name, f"stops {run.container_id}", pod=pod, of=run.name)
        if story is None or story.doomed is not None:
            return
        if story.finished:
            return
        if story.replaced_since(run.name, run.image, run.started):
            return
        self._fail("unprovoked-stop", run, "though nobody deleted or changed its pod")

    def runs_of(self, uid: str, container: str) -> list[Run]:
        return self._seen.get((uid, container), [])

    def _fail(self, rule: str, run: Run, what: str) -> None:
        self._journal.fail(
            rule, f"{self._name}: {run.container_id} ({run.uid[-4:]}/{run.name}) {what}"
        )
