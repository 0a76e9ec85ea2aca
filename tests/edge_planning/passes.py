"""One plan before the judge, and the list of the rules that it is judged by.

Used by the modules of rules; ``judge`` itself is called by ``device.py``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgeagent.pods.model.actions import Action, StartContainer, StopContainer
from edgeagent.pods.model.view import Moment, PodView
from edgeagent.pods.planning.planner import Plan
from edgeagent.runtime.port import Container
from tests.edge_planning.ledger import Ledger

Rule = Callable[["Pass"], None]
RULES: list[Rule] = []


@dataclass(frozen=True)
class Pass:
    """One plan, and what it was made from."""

    view: PodView
    now: Moment
    plan: Plan
    ledger: Ledger
    trusted: bool
    """The wall clock has never jumped."""

    @property
    def kept(self) -> list[Action]:
        return [one for one in self.view.live.under_way if one not in self.plan.abandon]

    @property
    def doing(self) -> list[Action]:
        """Under way after this plan."""
        return [*self.kept, *(one for one in self.plan.actions if one not in self.kept)]

    @property
    def begun(self) -> list[Action]:
        """Asked for by this plan and not under way yet."""
        return [one for one in self.plan.actions if one not in self.kept]

    def stops(self) -> Iterator[tuple[StopContainer, Container]]:
        for action in self.begun:
            if isinstance(action, StopContainer):
                yield action, self.container(action.container_id)

    def starts(self) -> Iterator[StartContainer]:
        yield from (one for one in self.begun if isinstance(one, StartContainer))

    def container(self, container_id: str) -> Container:
        return next(one for one in self.view.containers() if one.id == container_id)

    def alive(self) -> set[str]:
        return {one.id for one in self.view.running()}

    @property
    def pod_stops(self) -> bool:
        """For good."""
        return self.plan.facts.stopping is not None

    @property
    def all_stop(self) -> bool:
        """For good, or with the device."""
        return self.pod_stops or self.view.halted

    @property
    def all_end(self) -> bool:
        """All that belongs to the pod, for whatever reason."""
        return self.all_stop or self.ledger.all_begin_anew or self.ledger.all_may_begin_anew

    def stop_end(self) -> float:
        """When the grace period of the whole pod is over."""
        stopping, shutdown = self.plan.facts.stopping, self.view.live.shutdown
        if stopping is not None:
            known = stopping == self.view.facts.stopping and self.ledger.stopping_since
            return (known or self.now.monotonic) + stopping.grace
        assert shutdown is not None and shutdown.grace is not None
        own = self.view.pod["spec"]["terminationGracePeriodSeconds"]
        return shutdown.since + min(own, shutdown.grace)


def rule(check: Rule) -> Rule:
    RULES.append(check)
    return check


def judge(one: Pass) -> None:
    for check in RULES:
        check(one)
