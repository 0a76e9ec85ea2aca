"""A plan in the making: what the planning modules write into, and the checks they share.

``act`` is the one way to ask for an action: it keeps to one action per slot and waits out the
troubles, so that no planning module can contradict another or hurry a failing action.
"""

from __future__ import annotations

from edgeagent.pods.model.actions import Action, ResizeContainer, StopContainer
from edgeagent.pods.model.causes import Cause
from edgeagent.pods.model.view import Moment, PodView
from edgeagent.runtime.port import Container

MINIMUM_GRACE = 2.0
"""Seconds that a container gets at least, unless it was to be killed at once."""


class Draft:
    def __init__(self, view: PodView, now: Moment) -> None:
        self.view = view
        self.now = now
        self.actions: list[Action] = []
        self.abandon: list[Action] = []
        self.due: float | None = None

    def act(self, action: Action) -> bool:
        """Ask for the action; False when it cannot begin now (busy slot, or too early)."""
        if action in self.view.live.under_way:
            return True
        if action.slot in self.slots():
            return False
        trouble = self.view.live.troubles.get(action.slot)
        if trouble is not None and trouble.retry_at > self.now.monotonic:
            self.at(trouble.retry_at)
            return False
        self.actions.append(action)
        return True

    def stop(
        self, one: Container, *, since: float, grace: float, cause: Cause, hook: bool = True
    ) -> None:
        """Stop a container by ``since + grace``; an earlier end replaces a later one under way,
        and a resize of it under way is given up."""
        self.abandon += [
            resize
            for resize in self.view.live.under_way
            if isinstance(resize, ResizeContainer)
            and resize.container_id == one.id
            and resize not in self.abandon
        ]
        deadline = since + grace
        for current in self.view.live.under_way:
            if isinstance(current, StopContainer) and current.container_id == one.id:
                floor = self.now.monotonic + MINIMUM_GRACE if grace else deadline
                if current.deadline <= max(deadline, floor):
                    return
                self.abandon.append(current)
                self.act(StopContainer(one.name, one.id, deadline, cause, hook=False))
                return
        if grace:
            deadline = max(deadline, self.now.monotonic + MINIMUM_GRACE)
        self.act(StopContainer(one.name, one.id, deadline, cause, hook))

    def at(self, monotonic: float) -> None:
        """Look again at this moment, whatever happens before."""
        self.due = monotonic if self.due is None else min(self.due, monotonic)

    def slots(self) -> set[str]:
        """Taken: under way and not given up, or asked for already."""
        kept = [one for one in self.view.live.under_way if one not in self.abandon]
        return {action.slot for action in (*kept, *self.actions)}

    def busy(self, slot: str) -> bool:
        return slot in self.slots()
