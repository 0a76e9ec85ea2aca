"""Fields that a server fills in when the user leaves them out. Pure; fills in place.

``default`` works on an object that the caller owns. Only a pod at creation gets what admission
adds to it (tolerations, priority, service account): ``admit_pod``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator

from devcluster.apiserver.status import Json

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
EVICTION_SECONDS = 300


def default(kind: str, obj: Json) -> None:
    fill = _DEFAULTS.get(kind)
    if fill is not None:
        fill(obj)


def _fill(target: Json, **values: object) -> None:
    for name, value in values.items():
        if target.get(name) is None:
            target[name] = value


def all_containers(spec: Json) -> Iterator[Json]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or []


def _pod(pod: Json) -> None:
    spec = pod.setdefault("spec", {})
    _fill(spec, restartPolicy="Always", dnsPolicy="ClusterFirst", schedulerName="default-scheduler")
    _fill(spec, terminationGracePeriodSeconds=30, securityContext={}, enableServiceLinks=True)
    _same_account(spec)
    for container in all_containers(spec):
        _container(container, host_network=spec.get("hostNetwork") is True)
    for volume in spec.get("volumes") or []:
        _volume(volume)


def _same_account(spec: Json) -> None:
    """``serviceAccount`` is the old name of ``serviceAccountName``; both are always shown."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name


def _container(container: Json, *, host_network: bool) -> None:
    _fill(container, resources={}, imagePullPolicy=pull_policy(str(container.get("image", ""))))
    _fill(container, terminationMessagePath="/dev/termination-log")
    _fill(container, terminationMessagePolicy="File")
    limits = container["resources"].get("limits") or {}
    if limits:
        container["resources"]["requests"] = limits | (container["resources"].get("requests") or {})
    for port in container.get("ports") or []:
        _fill(port, protocol="TCP")
        if host_network and "containerPort" in port:
            _fill(port, hostPort=port["containerPort"])
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            _probe(container[probe])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict) and "httpGet" in hook:
            _http(hook["httpGet"])
    for variable in container.get("env") or []:
        field = (variable.get("valueFrom") or {}).get("fieldRef")
        if field is not None:
            _fill(field, apiVersion="v1")


def pull_policy(image: str) -> str:
    """Always for ``latest`` and for no tag at all, else IfNotPresent."""
    name, at, _ = image.partition("@")
    if at:
        return "IfNotPresent"
    _, colon, tag = name.rpartition("/")[2].partition(":")
    return "IfNotPresent" if colon and tag != "latest" else "Always"


def _probe(probe: Json) -> None:
    _fill(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    if "httpGet" in probe:
        _http(probe["httpGet"])
    if "grpc" in probe:
        _fill(probe["grpc"], service="")


def _http(action: Json) -> None:
    _fill(action, path="/", scheme="HTTP")


def _volume(volume: Json) -> None:
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}
    for source in ("configMap", "secret", "downwardAPI", "projected"):
        if source in volume:
            _fill(volume[source], defaultMode=0o644)
    if "hostPath" in volume:
        _fill(volume["hostPath"], type="")
    downward = list((volume.get("downwardAPI") or {}).get("items") or [])
    for part in (volume.get("projected") or {}).get("sources") or []:
        downward += (part.get("downwardAPI") or {}).get("items") or []
        if "serviceAccountToken" in part:
            _fill(part["serviceAccountToken"], expirationSeconds=3600)
    for item in downward:
        if "fieldRef" in item:
            _fill(item["fieldRef"], apiVersion="v1")


def _secret(secret: Json) -> None:
    """``stringData`` is write-only: it ends up in ``data``, encoded."""
    _fill(secret, type="Opaque")
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
    _fill(spec, type="ClusterIP", sessionAffinity="None")
    for port in spec.get("ports") or []:
        _fill(port, protocol="TCP")
        if "port" in port:
            _fill(port, targetPort=port["port"])


def _claim(claim: Json) -> None:
    _fill(claim.setdefault("spec", {}), volumeMode="Filesystem")


def _persistent_volume(volume: Json) -> None:
    spec = volume.setdefault("spec", {})
    _fill(spec, volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")


_DEFAULTS: dict[str, Callable[[Json], None]] = {
    "Pod": _pod,
    "Secret": _secret,
    "Namespace": _namespace,
    "Service": _service,
    "PersistentVolumeClaim": _claim,
    "PersistentVolume": _persistent_volume,
}


def admit_pod(pod: Json) -> None:
    """What the admission plugins of a real server add to a new pod."""
    spec = pod["spec"]
    tolerate_absence(spec)
    _fill(spec, priority=0, preemptionPolicy="PreemptLowerPriority")
    _fill(spec, serviceAccountName="default")
    _same_account(spec)


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
