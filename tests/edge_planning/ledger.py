"""What truly happened to the containers of a pod, kept beside the planner and never read by it.

Owns an independent statement of the rules that the planner follows: which causes to stop a
container or a pod are legitimate, and whether what has ended starts again. It is brought up to
date before each plan, so that a plan cannot be its own excuse.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from edgeagent.pods.model.actions import StartContainer, StopContainer
from edgeagent.pods.model.view import Moment, PodView, Wanted, is_running
from edgeagent.pods.planning.planner import Plan
from edgeagent.runtime.port import Container, ContainerState
from shared.objects import Json

LOST_CODE = 137
GOOD_RUN = 600.0
YES, NO, EITHER = frozenset({True}), frozenset({False}), frozenset({True, False})
BY_OTHERS = frozenset({"liveness", "startup", "shutdown", "sandbox"})
"""A container stopped for these runs again unless its policy is Never."""
TO_REPLACE = frozenset({"spec", "resize", "all"})
ALL_ANEW = "RestartAllContainers"


@dataclass
class Life:
    """One container that was started."""

    id: str
    name: str
    sandbox: str
    attempt: int
    spec: Json
    """With the image and the resources that it really has."""
    began: float
    ended: float | None = None
    code: int = 0
    started: bool = False
    causes: set[str] = field(default_factory=set)
    """Why it may be stopped: what was wrong at some look, or was said by a probe or a hook."""
    asked: set[str] = field(default_factory=set)
    """Those that were there when its stop was asked for."""
    told: bool = False
    """Its end was seen by a planner that could act on it."""
    source: bool = False
    """Its end has let all containers of the pod begin anew."""
    past: bool = False
    """All have begun anew since, so that it counts for nothing in the order of starts."""
    doubtful: bool = False
    """An agent with older facts has come since: it may not know why the container was stopped."""


class Ledger:
    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}
        self.pod_causes: set[str] = set()
        self.taken_up: Moment | None = None
        self.stopping_since: float | None = None
        self.restarted_agent = False
        self.first_body: Json | None = None
        self.edited = False
        """Its spec is not what it was: a back-off may have begun anew, or be over."""
        self.all_begin_anew = False
        """All containers are being stopped because one ended with a code that asks for it."""
        self.all_may_begin_anew = False
        """So it may be: the agent's facts are old."""
        self.of_pod: Json = {}
        """What the pod's cgroup really has of the resources that the pod asks for as a whole."""

    def of(self, container_id: str) -> Life:
        return self.lives[container_id]

    def newest(self, name: str) -> Life | None:
        named = [one for one in self.lives.values() if one.name == name]
        return max(named, key=lambda one: (one.attempt, one.began), default=None)

    # What happens

    def agent_started(self) -> None:
        self.restarted_agent = True

    def facts_are_old(self, known: Collection[str]) -> None:
        """The agent knows only containers that it can see, or that its old facts name."""
        self.lives = {one: life for one, life in self.lives.items() if one in known}
        for life in self.lives.values():
            life.doubtful, life.source = True, False
        self.all_begin_anew = False

    def began(self, container: Container, spec: Json, now: float) -> None:
        started = "startupProbe" not in spec
        self.lives[container.id] = Life(
            *(container.id, container.name, container.sandbox_id, container.attempt),
            spec={"resources": {}, **spec},
            began=now,
            started=started,
        )

    def ended(self, container_id: str, code: int, now: float) -> None:
        life = self.lives.get(container_id)
        if life is not None and life.ended is None:
            life.ended, life.code = now, code

    def condemned(self, container_id: str, kind: str) -> None:
        life = self.lives[container_id]
        life.causes.add(kind)
        if kind == "hook":
            life.started = False

    # Before and after a plan

    def looked(self, view: PodView, now: Moment) -> None:
        if view.wanted is Wanted.UNKNOWN and not view.halted:
            return
        self._note_lost(view, now)
        self.first_body = self.first_body or view.pod["spec"]
        self.edited = self.edited or self.first_body != view.pod["spec"]
        if view.wanted is Wanted.UNKNOWN:
            return
        for one in view.running():
            self._compare(one, view.pod)
        self._note_what_is_asked(view)
        if view.live.eviction is not None:
            self.pod_causes.add("evicted")
        for one in view.containers():
            if one.state is ContainerState.EXITED and one.id in self.lives:
                self.lives[one.id].told = True
        if self.is_overdue(view, now):
            self.pod_causes.add("overdue")
        if self.is_done(view.pod):
            self.pod_causes.add("done")
        if view.halted and not comes_back(view.pod):
            self.pod_causes.add("terminated")
        if not view.halted:
            self._note_what_begins_anew(view)

    def planned(self, view: PodView, plan: Plan, now: Moment) -> None:
        for action in plan.actions:
            if isinstance(action, StopContainer) and action.container_id in self.lives:
                life = self.lives[action.container_id]
                life.asked |= life.causes | {action.cause} & {"shutdown", "sandbox", "unknown"}
        if plan.facts.started_at:
            self.taken_up = self.taken_up or now
        if plan.facts.stopping is None:
            self.stopping_since = None
            return
        if plan.facts.stopping != view.facts.stopping:
            self.stopping_since = now.monotonic

    def _note_lost(self, view: PodView, now: Moment) -> None:
        there = {one.id for one in view.containers()}
        for life in self.lives.values():
            if life.id not in there and life.ended is None:
                life.ended, life.code = now.monotonic, LOST_CODE

    def _compare(self, one: Container, pod: Json) -> None:
        life, spec = self.lives.get(one.id), container_spec(pod, one.name)
        if life is None or spec is None or one.name in names(pod, "ephemeralContainers"):
            return
        if life.spec["image"] != spec["image"] and not runs_once(pod, one.name):
            life.causes.add("spec")
        if resized_by_restart(life.spec["resources"], spec):
            life.causes.add("resize")

    def _note_what_begins_anew(self, view: PodView) -> None:
        """From the end of the source until nothing lives that belongs to the pod."""
        newest = [one for name in members(view.pod) if (one := self.newest(name))]
        sources = [one for one in newest if self._lets_all_begin_anew(view, one)]
        self.all_may_begin_anew = any(one.doubtful for one in sources)
        if any(not (one.source or one.doubtful) for one in sources):
            self.all_begin_anew = True
        for life in sources:
            life.source = True
        if not (self.all_begin_anew or self.all_may_begin_anew):
            return
        for life in newest:
            if life.ended is None:
                life.causes.add("all")
        if self._lives_or_starts(view):
            return
        for life in newest:
            life.asked |= set() if life.source else {"all"}
        for life in self.lives.values():
            life.past = life.past or life.name in members(view.pod)
        self.all_begin_anew = False

    def _lives_or_starts(self, view: PodView) -> bool:
        """Whether anything of the pod runs, or will when a start that is under way has ended."""
        starts = [one for one in view.live.under_way if isinstance(one, StartContainer)]
        began = {(one.name, one.attempt, one.sandbox) for one in self.lives.values()}
        alive = [one for one in view.running() if one.name in members(view.pod)]
        return bool(alive) or any(
            (one.name, one.attempt, one.sandbox_id) not in began for one in starts
        )

    def _lets_all_begin_anew(self, view: PodView, life: Life) -> bool:
        """It ended in this sandbox, not to be replaced, and its first rule that matches says so."""
        spec = container_spec(view.pod, life.name)
        here = view.sandbox is not None and view.sandbox.id == life.sandbox
        if (
            spec is None
            or not (here and life.told)
            or life.asked & (TO_REPLACE | {"shutdown", "sandbox", "unknown"})
        ):
            return False
        fitting = (one for one in spec.get("restartPolicyRules") or () if _matches(one, life.code))
        return next(fitting, {}).get("action") == ALL_ANEW

    def _note_what_is_asked(self, view: PodView) -> None:
        if view.wanted is Wanted.RUN:
            self.pod_causes.discard("gone")
        elif view.wanted is Wanted.DELETE:
            self.pod_causes.add("deleted")
        elif view.wanted is Wanted.GONE:
            self.pod_causes.add("gone")

    # The rules

    def is_overdue(self, view: PodView, now: Moment) -> bool:
        """By either clock: a wall clock that jumped is all that a new agent has."""
        deadline = view.pod["spec"].get("activeDeadlineSeconds")
        if deadline is None or self.taken_up is None:
            return False
        passed = now.monotonic - self.taken_up.monotonic
        if self.restarted_agent:
            passed = max(passed, now.wall - self.taken_up.wall)
        return bool(passed >= deadline)

    def is_done(self, pod: Json) -> bool:
        """No container will ever run again, or an init container stands in the way for good."""
        if self.all_begin_anew:
            return False
        mains = [self.newest(one["name"]) for one in pod["spec"]["containers"]]
        if all(life and life.ended and False in self.again(pod, life) for life in mains):
            return True
        inits = [self.newest(one["name"]) for one in pod["spec"].get("initContainers") or ()]
        return any(
            life and life.ended and life.code and False in self.again(pod, life) for life in inits
        )

    def again(self, pod: Json, life: Life) -> frozenset[bool]:
        """Whether a container that ended starts again; both, when nobody could know."""
        spec = container_spec(pod, life.name)
        assert spec is not None and life.ended is not None
        if life.name in names(pod, "ephemeralContainers"):
            return NO
        by_code = _by_code(pod, spec, life.code)
        policy = spec.get("restartPolicy") or pod["spec"].get("restartPolicy", "Always")
        by_others = by_code if policy == "Never" else YES
        answers: list[frozenset[bool]] = []
        if life.asked & (TO_REPLACE | {"unknown"}):
            answers.append(YES)
        if life.asked & BY_OTHERS:
            answers.append(by_others)
        if not answers or life.doubtful:
            answers.append(by_code)
        return frozenset().union(*answers)

    def back_off(self, life: Life) -> float:
        """Seconds that a container which ended in its sandbox waits at least."""
        assert life.ended is not None
        if life.asked & (TO_REPLACE | {"shutdown"}) or _ran_well(life):
            return 0.0
        return 0.0 if self.edited else self._assigned(life)

    def _assigned(self, life: Life) -> float:
        """None, 10, 20 … 300, by how the containers before it ended."""
        before = self.lives.get(self._previous(life))
        if before is None or before.doubtful or before.asked & TO_REPLACE:
            return 0.0
        assigned = self._assigned(before)
        if before.sandbox != life.sandbox or "shutdown" in before.asked:
            return assigned
        if not assigned or _ran_well(before):
            return 10.0
        return min(2 * assigned, 300.0)

    def _previous(self, life: Life) -> str:
        named = [
            one
            for one in self.lives.values()
            if one.name == life.name and one.attempt == life.attempt - 1
        ]
        return named[-1].id if named else ""


def _ran_well(life: Life) -> bool:
    return life.ended is not None and life.ended - life.began >= GOOD_RUN


def _has_rule(spec: Json, code: int) -> bool:
    return any(_matches(rule, code) for rule in spec.get("restartPolicyRules") or ())


def _matches(rule: Json, code: int) -> bool:
    codes = rule["exitCodes"]
    return bool((code in codes["values"]) == (codes["operator"] == "In"))


def _by_code(pod: Json, spec: Json, code: int) -> frozenset[bool]:
    """What the exit code alone decides."""
    if is_sidecar(pod, spec["name"]):
        return YES
    if _has_rule(spec, code):
        return YES
    policy = spec.get("restartPolicy") or pod["spec"].get("restartPolicy", "Always")
    if spec["name"] in names(pod, "initContainers") and policy == "Always":
        policy = "OnFailure"
    again = {"Always": True, "OnFailure": code != 0, "Never": False}[policy]
    return YES if again else NO


def container_spec(pod: Json, name: str) -> Json | None:
    """With the limits of its pod where it has none of its own."""
    kinds = ("initContainers", "containers", "ephemeralContainers")
    every = (one for kind in kinds for one in pod["spec"].get(kind) or ())
    found = next((one for one in every if one["name"] == name), None)
    of_pod = (pod["spec"].get("resources") or {}).get("limits")
    if found is None or not of_pod:
        return found
    own = found.get("resources") or {}
    return {**found, "resources": {**own, "limits": {**of_pod, **(own.get("limits") or {})}}}


def names(pod: Json, kind: str) -> list[str]:
    return [one["name"] for one in pod["spec"].get(kind) or ()]


def members(pod: Json) -> list[str]:
    """All but the ephemeral containers, which nothing restarts."""
    return [*names(pod, "initContainers"), *names(pod, "containers")]


def is_sidecar(pod: Json, name: str) -> bool:
    inits = pod["spec"].get("initContainers") or ()
    return any(one["name"] == name and one.get("restartPolicy") == "Always" for one in inits)


def runs_once(pod: Json, name: str) -> bool:
    """Init containers but the sidecars, and ephemeral ones: a new image does not reach them."""
    regular = name in names(pod, "initContainers") and not is_sidecar(pod, name)
    return regular or name in names(pod, "ephemeralContainers")


def comes_back(pod: Json) -> bool:
    """Whether a container of the pod runs again after a boot."""
    policy = pod["spec"].get("restartPolicy", "Always")
    return any(one.get("restartPolicy", policy) != "Never" for one in pod["spec"]["containers"])


def resized_by_restart(has: Json, spec: Json) -> bool:
    """Whether a resource differs whose resizePolicy is RestartContainer."""
    wants = spec.get("resources") or {}
    return any(
        (has.get(kind) or {}).get(one["resourceName"])
        != (wants.get(kind) or {}).get(one["resourceName"])
        for one in spec.get("resizePolicy") or ()
        if one["restartPolicy"] == "RestartContainer"
        for kind in ("requests", "limits")
    )


def lives_in(view: PodView, sandbox_id: str) -> bool:
    return any(is_running(one) for one in view.containers() if one.sandbox_id == sandbox_id)
