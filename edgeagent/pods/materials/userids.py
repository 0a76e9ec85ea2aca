"""Users and groups of its own for a pod with ``hostUsers: false``: which of the device's they are.

Pure. As on a kubelet every such pod has as many as an ordinary device has of its own, never those
of the device (the lowest), and never one that another pod has. Which they are is a fact of the pod
(``PodFacts.first_id``) and stands on its sandbox too: should the facts be lost, no other pod gets
the users of one that runs. Given out by the pod's worker before its first sandbox is made; a pod
that has ended holds none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from edgeagent.pods.model import specs
from edgeagent.pods.model.errors import SandboxConfigError
from edgeagent.pods.model.facts import PodFacts
from edgeagent.pods.model.nodefacts import FIRST_IDS, NodeFacts
from edgeagent.runtime.port import IdRange, Sandbox
from shared.objects import Json

LENGTH = FIRST_IDS.step

FIRST_ID = "kubetide.io/first-id"
"""On a sandbox: the device's user and group that is 0 inside."""


def are_own(pod: Json) -> bool:
    """Whether the pod asks for users of its own."""
    return pod["spec"].get("hostUsers") is False


def written(sandboxes: Iterable[Sandbox]) -> dict[str, set[int]]:
    """First ids that sandboxes have, by the pod's uid."""
    found: dict[str, set[int]] = {}
    for one in sandboxes:
        if first := _written(one):
            found.setdefault(one.uid, set()).add(first)
    return found


def taken(
    uid: str, facts: Mapping[str, PodFacts], sandboxes: Mapping[str, Collection[int]]
) -> set[int]:
    """First ids of all pods but ``uid`` that may have processes, by their facts and sandboxes."""
    held = {one.first_id for other, one in facts.items() if other != uid and one.final is None}
    return held.union(*(ids for other, ids in sandboxes.items() if other != uid))


def first_id(
    facts: PodFacts,
    sandboxes: Iterable[Sandbox],
    *,
    others: Collection[int],
    allowed: range = FIRST_IDS,
) -> int:
    """What the pod has, or the lowest that is allowed and nobody's; 0 = there is none.

    The runtime's word beats the facts', which may be those of an older database.
    """
    if runs_with := max(map(_written, sandboxes), default=0):
        return runs_with
    if facts.first_id and facts.first_id not in others:
        return facts.first_id
    return next((one for one in allowed if one not in others), 0)


def id_range(pod: Json, first: int, node: NodeFacts) -> IdRange | None:
    """For the pod's sandbox; raises SandboxConfigError in a kubelet's words."""
    if not are_own(pod):
        return None
    name = specs.runtime_class(pod)
    handler = node.handler(name)
    if handler is None or not handler.user_namespaces:
        shown = node.runtime_classes.get(name) or name
        who = f'RuntimeClass handler "{shown}"' if name else "runtime"
        raise SandboxConfigError(
            f"can't set `spec.hostUsers: false`, {who} does not support user namespaces"
        )
    if not first:
        raise SandboxConfigError(
            "create user namespace: could not find an empty slot to allocate a user namespace"
        )
    return IdRange(first, LENGTH)


def _written(sandbox: Sandbox) -> int:
    text = sandbox.annotations.get(FIRST_ID, "")
    number = int(text) if text.isdecimal() and len(text) < 11 else 0
    return number if number in FIRST_IDS else 0
