"""Fields that a server fills in when the user leaves them out. Pure; fills in place.

``default`` works on an object that the caller owns. Only a pod at creation gets what admission
adds to it (tolerations, priority, service account): ``admit_pod``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

from devcluster.apiserver.status import Json
from shared.pod_defaults import fill, fill_pod, same_account
from shared.static_pods import MIRROR

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
EVICTION_SECONDS = 300


def default(kind: str, obj: Json) -> None:
    fill = _DEFAULTS.get(kind)
    if fill is not None:
        fill(obj)


def _secret(secret: Json) -> None:
    """``stringData`` is write-only: it ends up in ``data``, encoded."""
    fill(secret, type="Opaque")
    plain = secret.pop("stringData", None) or {}
    if plain:
        encoded = {key: b64encode(text.encode()).decode() for key, text in plain.items()}
        secret["data"] = (secret.get("data") or {}) | encoded


def _namespace(namespace: Json) -> None:
    metadata = namespace["metadata"]
    if "name" in metadata:
        metadata["labels"] = (metadata.get("labels") or {}) | {
            "kubernetes.io/metadata.name": metadata["name"]
        }


def _service(service: Json) -> None:
    spec = service.setdefault("spec", {})
    fill(spec, type="ClusterIP", sessionAffinity="None")
    for port in spec.get("ports") or []:
        fill(port, protocol="TCP")
        if "port" in port:
            fill(port, targetPort=port["port"])


def _claim(claim: Json) -> None:
    fill(claim.setdefault("spec", {}), volumeMode="Filesystem")


def _persistent_volume(volume: Json) -> None:
    spec = volume.setdefault("spec", {})
    fill(spec, volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")


_DEFAULTS: dict[str, Callable[[Json], None]] = {
    "Pod": fill_pod,
    "Secret": _secret,
    "Namespace": _namespace,
    "Service": _service,
    "PersistentVolumeClaim": _claim,
    "PersistentVolume": _persistent_volume,
}


def admit_pod(pod: Json) -> None:
    """What the admission plugins of a real server add to a new pod; a mirror has no account."""
    spec = pod["spec"]
    tolerate_absence(spec)
    fill(spec, priority=0, preemptionPolicy="PreemptLowerPriority")
    if MIRROR not in (pod["metadata"].get("annotations") or {}):
        fill(spec, serviceAccountName="default")
    same_account(spec)


def tolerate_absence(spec: Json) -> None:
    """A pod that says nothing else stays for a while on a node that is away."""
    tolerations = list(spec.get("tolerations") or [])
    for taint in (NOT_READY, UNREACHABLE):
        if not any(_tolerates_no_execute(toleration, taint) for toleration in tolerations):
            tolerations.append(
                {
                    "key": taint,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": EVICTION_SECONDS,
                }
            )
    spec["tolerations"] = tolerations


def _tolerates_no_execute(toleration: Json, taint: str) -> bool:
    return toleration.get("key", taint) == taint and toleration.get("effect") in (
        None,
        "",
        "NoExecute",
    )


def qos_class(spec: Json) -> str:
    """Guaranteed, Burstable or BestEffort, from the requests and limits of the containers."""
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    resources = [container.get("resources") or {} for container in containers]
    if not any(_amounts(part, field) for part in resources for field in ("requests", "limits")):
        return "BestEffort"
    guaranteed = all(
        _amounts(part, "limits").keys() == {"cpu", "memory"}
        and _amounts(part, "limits") == _amounts(part, "requests")
        for part in resources
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _amounts(resources: Json, field: str) -> Json:
    amounts = resources.get(field) or {}
    return {
        name: amounts[name] for name in ("cpu", "memory") if amounts.get(name) not in (None, "0")
    }
