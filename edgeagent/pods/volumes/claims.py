"""Which PersistentVolume a pod's claim stands for, and whether this node may use it.

Pure: from the pod, the objects that are here and the node to a ``Place``; nothing on the disk is
looked at. Raises ``PodTrouble`` in a kubelet's words for what may still come: a claim, its
binding, its volume.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from edgeagent.pods.admission.supported import shortcomings
from edgeagent.pods.materials import sources
from edgeagent.pods.model import specs
from edgeagent.pods.model.errors import ClaimError, MountError
from edgeagent.pods.volumes.contents import Origin
from shared import node_affinity
from shared.objects import NO_NAMESPACE, VOLUME_GROUP, Json

LOCAL, HOST_PATH = "local", "hostPath"
CLAIM, EPHEMERAL = "persistentVolumeClaim", "ephemeral"
"""Kinds of volumes that stand for a claim; the cluster makes the second's with its pod."""

_GROUP, _LAST_GROUP = re.compile("[0-9]{1,10}"), 2**31 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where the data of a PersistentVolume is on this device."""

    volume: str
    """Name of the PersistentVolume: what messages about it say."""
    source: str
    path: str
    type: str = ""
    """Of a hostPath."""
    is_block: bool = False
    for_one_pod: bool = False
    """Its only access mode is ReadWriteOncePod."""


class _NotReady(ValueError):
    """The claim cannot be used as it is."""


def place_of(volume: Json, origin: Origin) -> Place:
    """``volume`` is one of the pod's that stands for a claim."""
    try:
        claim = _claim(volume, origin)
        found = _persistent_volume(claim, origin)
        _check_mode(volume["name"], found["spec"], origin.pod)
    except _NotReady as error:
        named = f"{specs.namespace_of(origin.pod)}/{_claim_name(volume, origin.pod)}"
        raise ClaimError(volume["name"], named, str(error)) from error
    name, spec = found["metadata"]["name"], found["spec"]
    if bad := shortcomings("PersistentVolumeSpec", spec, "spec"):
        raise MountError(name, "; ".join(f"{one.field}: {one.message}" for one in bad))
    _check_place(name, spec, origin)
    return _place(name, spec)


def group_of(volume: Json, origin: Origin) -> int | None:
    """Of the PersistentVolume, for the pod's processes; no check keeps it from a pod that has its
    volume already. What is no number is none, as on a kubelet."""
    namespace, named = specs.namespace_of(origin.pod), _claim_name(volume, origin.pod)
    find = partial(sources.find, origin.sources)
    claim = find("PersistentVolumeClaim", namespace=namespace, name=named) or {}
    bound = str(_map(claim, "spec").get("volumeName"))
    found = find("PersistentVolume", namespace=NO_NAMESPACE, name=bound) or {}
    written = str(_map(_map(found, "metadata"), "annotations").get(VOLUME_GROUP))
    is_one = _GROUP.fullmatch(written) and int(written) <= _LAST_GROUP
    return int(written) if is_one else None


def is_block(name: str, pod: Json) -> bool:
    """Whether the pod's containers use the volume as a device."""
    return name in _names(pod, "volumeDevices")


def _claim(volume: Json, origin: Origin) -> Json:
    namespace, name = specs.namespace_of(origin.pod), _claim_name(volume, origin.pod)
    claim = sources.find(origin.sources, "PersistentVolumeClaim", namespace=namespace, name=name)
    if claim is None:
        words = f'failed to fetch PVC from API server: persistentvolumeclaims "{name}" not found'
        raise _NotReady(words)
    if volume.get(EPHEMERAL) is not None and not _is_of(origin.pod, claim):
        pod = f"{namespace}/{specs.name_of(origin.pod)}"
        raise _NotReady(f"PVC {namespace}/{name} was not created for pod {pod} (pod is not owner)")
    return claim


def _is_of(pod: Json, claim: Json) -> bool:
    """Somebody else's claim of the same name is nobody's ephemeral volume."""
    owners = _map(claim, "metadata").get("ownerReferences")
    return isinstance(owners, list) and any(
        isinstance(one, dict) and one.get("controller") and one.get("uid") == specs.uid_of(pod)
        for one in owners
    )


def _persistent_volume(claim: Json, origin: Origin) -> Json:
    metadata, spec, status = (_map(claim, part) for part in ("metadata", "spec", "status"))
    if metadata.get("deletionTimestamp"):
        raise _NotReady("PVC is being deleted")
    if status.get("phase") != "Bound":
        raise _NotReady("PVC is not bound")
    bound = spec.get("volumeName")
    if not bound:
        raise _NotReady("PVC has empty pvc.Spec.VolumeName")
    found = sources.find(
        origin.sources, "PersistentVolume", namespace=NO_NAMESPACE, name=str(bound)
    )
    if found is None:
        what = f'failed to fetch PV "{bound}" from API server'
        raise _NotReady(f'{what}: persistentvolumes "{bound}" not found')
    back = _map(_map(found, "spec"), "claimRef")
    if not back:
        raise _NotReady(
            f'found PV object "{bound}" but it has a nil pv.Spec.ClaimRef indicating it is not yet'
            " bound to the claim"
        )
    if back.get("uid") != metadata.get("uid"):
        raise _NotReady(
            f'found PV object "{bound}" but its pv.Spec.ClaimRef.UID "{back.get("uid")}" does not'
            f' point to claim.UID "{metadata.get("uid")}"'
        )
    return {"metadata": {"name": str(bound)}, "spec": _map(found, "spec")}


def _check_mode(name: str, spec: Json, pod: Json) -> None:
    mode = spec.get("volumeMode") or "Filesystem"
    for field, fitting in (("volumeMounts", "Filesystem"), ("volumeDevices", "Block")):
        if name in _names(pod, field) and mode != fitting:
            raise _NotReady(f"volume {name} has volumeMode {mode}, but is specified in {field}")


def _check_place(name: str, spec: Json, origin: Origin) -> None:
    node = origin.node
    required = (spec.get("nodeAffinity") or {}).get("required")
    if required and not node_affinity.selects(required, node.labels, name=node.name):
        step = "MountVolume.NodeAffinity check failed"
        raise MountError(name, "no matching NodeSelectorTerms", step=step)
    if spec.get("hostPath") and spec.get("volumeMode") == "Block":
        raise MountError(name, "a hostPath volume has no block mode")


def _place(name: str, spec: Json) -> Place:
    source = LOCAL if spec.get("local") else HOST_PATH
    if not spec.get(source):
        raise MountError(name, "the volume names neither a local path nor a hostPath")
    return Place(
        *(name, source, str(spec[source]["path"])),
        type=str(spec[source].get("type") or "") if source == HOST_PATH else "",
        is_block=spec.get("volumeMode") == "Block",
        for_one_pod=spec.get("accessModes") == ["ReadWriteOncePod"],
    )


def _claim_name(volume: Json, pod: Json) -> str:
    return specs.claims(pod)[volume["name"]]


def _names(pod: Json, field: str) -> set[str]:
    return {used["name"] for one in specs.every_container(pod) for used in one.get(field) or ()}


def _map(obj: Json, part: str) -> Json:
    """Bodies come from the wire, and only pods are checked at the door."""
    found = obj.get(part)
    return found if isinstance(found, dict) else {}
