"""The update veto at the edge: what is not done to a running pod until the device allows it. Pure.

A pod with the annotation ``HOLD`` goes on running as it is, whatever is asked for it, until
somebody at the device releases it (``edgeagent release``) or a maintenance window is open. Held
are its deletion, its absence from the list, and a change that would restart a container; ends that
are its own (deadline, restart policy) and evictions are not. Called by ``wanting.py``, which then
treats the pod as wanted, with the body that it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgeagent.pods.model import specs
from edgeagent.pods.model.facts import PodFacts
from edgeagent.pods.model.podevents import PodEvent, normal
from edgeagent.pods.model.view import Wanted
from shared.objects import Json, ObjectKey
from shared.static_pods import is_static

HOLD = "kubetide.io/hold-update"
CONDITION = "kubetide.io/UpdateHeld"

DELETION, REMOVAL, UPDATE = "deletion", "removal", "update"
"""What is on hold: asked for by a deletion, by absence from the list, by a changed spec."""


def holds(pod: Json) -> bool:
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    return annotations.get(HOLD) == "true"


def pending(stored: Json, newest: Json | None, wanted: Wanted, facts: PodFacts) -> str:
    """What would be done to a pod that must not be touched; empty = nothing.

    The annotation counts in the pod as it runs, and only as long as the newest body has it too.
    What has begun is not held up any more.
    """
    if facts.stopping is not None or facts.final is not None:
        return ""
    if not holds(stored) or (newest is not None and not holds(newest)):
        return ""
    if wanted is Wanted.DELETE:
        return DELETION
    if wanted is Wanted.GONE:
        return REMOVAL
    restarts = wanted is Wanted.RUN and newest is not None and _restarts(stored, newest)
    return UPDATE if restarts else ""


def kept(facts: PodFacts, what: str, *, taken_up: bool, window_open: bool) -> PodFacts:
    """The facts with what is held up of what is asked for: nothing, once it may go on."""
    released = bool(what) and facts.released
    held = taken_up and not released and not window_open
    return replace(facts, on_hold=what if held else "", released=released)


def _restarts(stored: Json, newest: Json) -> bool:
    return any(
        before is not None and _is_replaced(before, after)
        for after in specs.every_container(newest)
        for before in (specs.container_named(stored, after["name"]),)
    )


def _is_replaced(before: Json, after: Json) -> bool:
    if specs.identity(before) != specs.identity(after):
        return True
    policies = {one.get("restartPolicy") for one in after.get("resizePolicy") or ()}
    resized = (before.get("resources") or {}) != (after.get("resources") or {})
    return resized and "RestartContainer" in policies


def waits(uid: str, key: ObjectKey, known: Mapping[str, PodFacts]) -> bool:
    """Whether a new pod must not begin: an older one of its name is not to be touched.

    Of static pods there is only one of a name at a time: the next begins when the last is gone.
    """
    if uid in known and known[uid].admitted:
        return False
    return any(
        other != uid
        and facts.admitted
        and bool(facts.pod)
        and ((is_static(uid) and is_static(other)) or (facts.final is None and holds(facts.pod)))
        and ObjectKey.of("Pod", facts.pod) == key
        for other, facts in known.items()
    )


def reason(what: str) -> str:
    return f"{what.capitalize()}Held"


def message(what: str) -> str:
    way_out = "`edgeagent release` on the device, or a maintenance window, lets it go on"
    return f"The pod's {what} is held by the annotation {HOLD}: {way_out}"


def event(before: str, after: str) -> PodEvent:
    """For a change of what is on hold."""
    if after:
        return normal(reason(after), message(after))
    return normal("UpdateReleased", f"The pod's {before} is not held any more")
