"""Static pods as both sides know them: names of annotations, the form of a uid, what one may use.

A static pod comes from a file on the device and its mirror pod is the API's copy of it. Owns the
rule that a static pod's uid (32 hex digits) is never an API server's (with dashes), and what of the
API such a pod may not name. Pure; the agent asks before it runs a pod, the hub before it
creates its mirror.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.objects import NO_NAMESPACE, Json, ObjectKey

SOURCE = "kubernetes.io/config.source"
HASH = "kubernetes.io/config.hash"
SEEN = "kubernetes.io/config.seen"
MIRROR = "kubernetes.io/config.mirror"
"""On the mirror pod alone; its value is the static pod's hash, which is its uid."""

MOST_PODS = 100
"""Static pods of one device."""
MOST_BYTES = 128 * 1024
"""Of one static pod, packed."""

_UID = re.compile(r"[0-9a-f]{32}")
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_OF_THE_DEVICE = frozenset({"name", "emptyDir", "hostPath", "downwardAPI", "image"})
_API_VOLUMES = {
    "configMap": "configmaps (via configmap volumes)",
    "secret": "secrets (via secret volumes)",
    "csi": "csidrivers (via CSI volumes)",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims (via ephemeral volumes)",
}
_API_PROJECTIONS = {
    "configMap": "configmaps (via projected volumes)",
    "secret": "secrets (via projected volumes)",
    "serviceAccountToken": "serviceaccounts (via projected volumes)",
    "clusterTrustBundle": "clustertrustbundles",
    "podCertificate": "podcertificates",
}


def list_key(node: str) -> ObjectKey:
    """Under which a device reports the complete list of its static pods."""
    return ObjectKey("StaticPods", NO_NAMESPACE, node)


def status_key(pod: ObjectKey) -> ObjectKey:
    """Under which the status of a static pod is reported: its name may be another pod's as well."""
    return ObjectKey("StaticPod", pod.namespace, pod.name)


def pod_key(status: ObjectKey) -> ObjectKey:
    return ObjectKey("Pod", status.namespace, status.name)


def is_static(uid: str) -> bool:
    return bool(_UID.fullmatch(uid))


def api_objects(spec: Json) -> str:
    """What the pod uses that only the API server has, in its words; empty for nothing.

    The spec has the shape of a PodSpec as far as it is looked at; for another one this raises
    AttributeError or TypeError.
    """
    return next(_api_objects(spec), "")


def _api_objects(spec: Json) -> Iterator[str]:
    if spec.get("serviceAccountName") or spec.get("serviceAccount"):
        yield "serviceaccounts"
    if any(one.get("name") for one in spec.get("imagePullSecrets") or ()):
        yield "secrets"
    for container in (one for kind in _CONTAINERS for one in spec.get(kind) or ()):
        yield from _of_container(container)
    if spec.get("resourceClaims"):
        yield "resourceclaims"
    for volume in spec.get("volumes") or ():
        yield from _of_volume(volume)


def _of_container(container: Json) -> Iterator[str]:
    sources = [one.get("valueFrom") or {} for one in container.get("env") or ()]
    sources += container.get("envFrom") or ()
    for source in sources:
        if source.get("secretKeyRef") or source.get("secretRef"):
            yield "secrets"
        if source.get("configMapKeyRef") or source.get("configMapRef"):
            yield "configmaps"


def _of_volume(volume: Json) -> Iterator[str]:
    for source in volume:
        if source == "projected":
            for part in (volume[source] or {}).get("sources") or ():
                for name in part:
                    if name != "downwardAPI":
                        yield _API_PROJECTIONS.get(name, f"{name} (via projected volumes)")
        elif source not in _OF_THE_DEVICE:
            yield _API_VOLUMES.get(source, f"volumes of the kind {source}")
