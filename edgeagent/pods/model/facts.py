"""What must outlive the agent about one pod: ``PodFacts``, stored as one JSON record.

Owns the record; ``absorbing.py`` merges it with what the runtime shows. Everything here was
observed or decided, never guessed; the runtime's word about a container beats the record.
A record that cannot be read counts as absent: the pod is then adopted from the runtime alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from edgeagent.pods.model.causes import Cause
from shared.objects import Json

LOST_CODE = 137
LOST_REASON = "ContainerStatusUnknown"
"""Of a container whose end nobody saw, as of one that never was."""

OUT_OF_MEMORY = "OOMKilled"


@dataclass(frozen=True, slots=True)
class Termination:
    """How a container ended. Times are wall-clock nanoseconds, 0 = not known."""

    exit_code: int
    reason: str = ""
    message: str = ""
    started_at: int = 0
    finished_at: int = 0
    container_id: str = ""

    @property
    def failed_to_initialize(self) -> bool:
        """Of an init container: what ran out of memory has not done its work, whatever the code."""
        return self.exit_code != 0 or self.reason == OUT_OF_MEMORY


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """The newest container of one name that was ever started."""

    attempt: int
    """Also its restart count."""
    id: str
    sandbox: str
    image: str = ""
    image_id: str = ""
    started_at: int = 0
    """Nanoseconds."""
    ended: Termination | None = None
    """None while it runs."""
    previous: Termination | None = None
    """How the one before it ended."""
    backoff: int = 0
    """Seconds to wait after its next end; 0 = start again at once."""
    killed: Cause = Cause.NONE
    """Why we stopped it, when that decides about its restart."""
    started: bool = False
    """The startup probe succeeded, or there is none."""
    ready: bool = False
    resources: Json = field(default_factory=dict)
    """As it was started or last resized with (``amounts.given``)."""
    user: Json = field(default_factory=dict)
    """Whom its first process began as, in the API's words; empty = the runtime does not say."""
    stop_signal: str = ""
    """By which the runtime stops it; empty likewise."""
    identity: str = ""
    """Of the spec that it was started with (``specs.identity``); empty = not known."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """The whole pod is being stopped, and why."""

    grace: int
    at: float
    """Wall clock; how long ago is measured by the monotonic one (``view.Live``)."""
    phase: str = ""
    """Decided already (Failed by a deadline), or empty: what the exit codes say."""
    reason: str = ""
    message: str = ""
    gone: bool = False
    """Because nobody wanted it any more: should it be wanted again, it runs again."""
    disruption: bool = False
    """Evicted because the device was short of something: the condition DisruptionTarget."""
    condition: str = ""
    """What that condition says, where it is not the message."""


@dataclass(frozen=True, slots=True)
class Condition:
    status: bool
    since: int
    """Unix seconds of the last transition."""


@dataclass(frozen=True, slots=True)
class PendingResize:
    """Resources that the pod asks for and does not have: see ``resizing.py``."""

    reason: str
    """Deferred or Infeasible."""
    message: str
    generation: int
    """Of the spec that asks for them."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    pod: Json = field(default_factory=dict)
    """The pod as last desired: what is needed to stop it well when it is gone from there."""
    started_at: float = 0.0
    """When the agent first took it up: status.startTime."""
    admitted: bool = False
    containers: Mapping[str, ContainerFacts] = field(default_factory=dict)
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    sandbox_attempt: int = -1
    ips: tuple[str, ...] = ()
    first_id: int = 0
    """Of the pod's own users and groups (``userids.py``); 0 = it has those of the device."""
    stopping: Stopping | None = None
    final: Json | None = None
    """The last status: set when everything has ended, and nothing is started ever after."""
    on_hold: str = ""
    """What is asked for the pod and not done: see ``holding.py``."""
    resize: PendingResize | None = None
    resizing: int = 0
    """Generation of the resize that was granted and has not reached all containers; 0 = none."""
    resources: Json = field(default_factory=dict)
    """``spec.resources`` that the pod's cgroup was last given, by a start or by a resize."""
    restarting_all: bool = False
    """Every container is being stopped in order to begin anew."""
    released: bool = False
    """Somebody at the device allowed what is on hold."""

    def container(self, name: str) -> ContainerFacts | None:
        return self.containers.get(name)

    def with_container(self, name: str, facts: ContainerFacts) -> PodFacts:
        return replace(self, containers={**self.containers, name: facts})

    def to_json(self) -> Json:
        """To be written and not to be changed: the JSON in it is shared, not copied."""
        record = _record(self)
        for name in ("containers", "conditions"):
            record[name] = {key: _record(one) for key, one in record[name].items()}
        return record

    @classmethod
    def from_json(cls, record: Json) -> PodFacts:
        """Raises TypeError, KeyError, ValueError or AttributeError for what is no such record."""
        facts = _known(cls, record)
        facts["containers"] = {name: _container(one) for name, one in record["containers"].items()}
        facts["conditions"] = {
            name: Condition(**_known(Condition, one)) for name, one in record["conditions"].items()
        }
        facts["ips"] = tuple(record["ips"])
        if record["stopping"] is not None:
            facts["stopping"] = Stopping(**_known(Stopping, record["stopping"]))
        if record.get("resize") is not None:
            facts["resize"] = PendingResize(**_known(PendingResize, record["resize"]))
        return cls(**facts)


def _record(facts: Any) -> Json:
    """Of any of the classes above, by the names of its fields."""
    parts = {one.name: getattr(facts, one.name) for one in fields(facts)}
    return {name: _record(one) if is_dataclass(one) else one for name, one in parts.items()}


def _container(record: Json) -> ContainerFacts:
    facts = _known(ContainerFacts, record)
    facts["killed"] = Cause.known(facts.get("killed"))
    for name in ("ended", "previous"):
        if record[name] is not None:
            facts[name] = Termination(**_known(Termination, record[name]))
    return ContainerFacts(**facts)


def _known(cls: type[Any], record: Json) -> Json:
    """Without the fields of a newer agent: going back to an older one must not lose the rest."""
    names = {one.name for one in fields(cls)}
    return {name: value for name, value in record.items() if name in names}
