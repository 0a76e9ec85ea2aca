"""What is found at the start: stored facts, and pods that only the runtime remembers.

Pure. Nothing found is touched for having been found; a pod that is rebuilt from the runtime alone
(the database was lost) has names, uid and grace period, which is what stopping it well takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from edgeagent.pods.materials.containers import POD_GRACE, TYPE
from edgeagent.pods.materials.sandboxes import LIST_REVISION
from edgeagent.pods.model import specs
from edgeagent.pods.model.facts import PodFacts
from edgeagent.pods.rules.holding import HOLD
from edgeagent.runtime.port import Container, Sandbox
from shared.objects import Json
from shared.static_pods import is_static

log = structlog.get_logger()


def recovered(records: Mapping[str, Json]) -> dict[str, PodFacts]:
    """The facts that can be read; a broken record counts as none."""
    found = {}
    for uid, record in records.items():
        try:
            found[uid] = PodFacts.from_json(record)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            log.error("a pod's stored facts cannot be read", pod_uid=uid, error=repr(error))
    return found


def pod_of(sandboxes: Sequence[Sandbox]) -> Json:
    """As much of the pod as its sandboxes and containers tell."""
    newest = sandboxes[0]
    containers = {one.name: one for sandbox in sandboxes for one in sandbox.containers}
    kinds: dict[str, list[Json]] = {"init": [], "ephemeral": [], "container": []}
    for one in containers.values():
        kind = one.annotations.get(TYPE, "container")
        kinds.get(kind, kinds["container"]).append({"name": one.name, "image": one.image})
    kept = {HOLD} & newest.annotations.keys()
    return {
        "metadata": {
            "name": newest.name,
            "namespace": newest.namespace,
            "uid": newest.uid,
            "annotations": {name: newest.annotations[name] for name in kept},
        },
        "spec": {
            "initContainers": kinds["init"],
            "containers": kinds["container"],
            "ephemeralContainers": kinds["ephemeral"],
            "terminationGracePeriodSeconds": _grace(list(containers.values())),
        },
    }


def made_under(sandboxes: Sequence[Sandbox]) -> int:
    """Revision of the newest list that wanted this pod, as its sandboxes tell; 0 = they do not.

    A list older than that (a restored database) says nothing about the pod. Of static pods no list
    says anything: 0 as well.
    """
    if sandboxes and is_static(sandboxes[0].uid):
        return 0
    written = [one.annotations.get(LIST_REVISION, "") for one in sandboxes]
    return max((int(one) for one in written if one.isdecimal()), default=0)


def _grace(containers: Sequence[Container]) -> int:
    written = [one.annotations.get(POD_GRACE, "") for one in containers]
    return max((int(one) for one in written if one.isdecimal()), default=specs.DEFAULT_GRACE)
