"""What a device may have shown of its static pods, and what is to be done about one. Pure.

Bytes from a device are hostile: of a body only a name, labels, annotations and a spec are taken,
and only of a pod that is bound to that very node, is named after it and uses nothing that the API
server has (the rules that Kubernetes has for kubelets). Called by ``static_lists.py`` and
``mirrors.py``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudhub.fleet.pods import PodRecord
from shared import codec
from shared.errors import WireError
from shared.objects import Json, ObjectKey
from shared.static_pods import HASH, MIRROR, MOST_BYTES, MOST_PODS, SOURCE, api_objects, is_static


@dataclass(frozen=True, slots=True)
class StaticPod:
    """One static pod as its device says that it is."""

    key: ObjectKey
    uid: str
    body: Json = field(repr=False)


def static_pods(node: str, status: Json) -> Mapping[ObjectKey, StaticPod]:
    """The complete list in a report; raises WireError for one with anything wrong in it."""
    bodies = status.get("pods")
    if not isinstance(bodies, list) or len(bodies) > MOST_PODS:
        raise WireError("bad-static-pods", f"{node}: not a list of at most {MOST_PODS}")
    found: dict[ObjectKey, StaticPod] = {}
    for body in bodies:
        try:
            pod = _static_pod(node, body)
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise WireError("bad-static-pods", f"{node}: {error!r}") from error
        if pod.key in found:
            raise WireError("bad-static-pods", f"{node}: {pod.key} twice")
        found[pod.key] = pod
    return found


def _static_pod(node: str, body: Any) -> StaticPod:
    metadata, spec = body["metadata"], body["spec"]
    key, uid = ObjectKey("Pod", metadata["namespace"], metadata["name"]), metadata["uid"]
    if not is_static(uid):
        raise WireError("bad-static-pods", f"{key}: {uid!r:.80} is no hash")
    if not key.name.endswith(f"-{node}") or spec.get("nodeName") != node:
        raise WireError("foreign-static-pod", f"{key} is not of node {node}")
    if used := api_objects(spec):
        raise WireError("bad-static-pods", f"{key} references {used}")
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    texts = [*labels, *labels.values(), *annotations, *annotations.values()]
    if not all(isinstance(text, str) for text in texts):
        raise WireError("bad-static-pods", f"{key}: labels or annotations are no texts")
    kept = {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec}
    if len(codec.pack(kept)) > MOST_BYTES:
        raise WireError("too-large", str(key))
    return StaticPod(key, uid, kept)


def mirror_pod(pod: StaticPod, *, node: str, node_uid: str) -> Json:
    """As a kubelet makes it: owned by the Node, so that it goes with it."""
    annotations = {
        **pod.body["metadata"]["annotations"],
        SOURCE: "file",
        HASH: pod.uid,
        MIRROR: pod.uid,
    }
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": node,
        "uid": node_uid,
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.key.name,
            "namespace": pod.key.namespace,
            "labels": pod.body["metadata"]["labels"],
            "annotations": annotations,
            "ownerReferences": [owner],
        },
        "spec": pod.body["spec"],
    }


class Step(enum.Enum):
    NOTHING = "nothing"
    CREATE = "create"
    DELETE = "delete"
    """What the API shows is another pod, or on its way out; a new mirror may follow."""


def step(wanted: StaticPod | None, mirror: PodRecord | None) -> Step:
    """``wanted``: what the device runs under that name; ``mirror``: what the API shows."""
    if mirror is None:
        return Step.CREATE if wanted else Step.NOTHING
    same = wanted is not None and mirror.mirror == wanted.uid and mirror.grace is None
    return Step.NOTHING if same else Step.DELETE
