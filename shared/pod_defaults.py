"""Fields that an API server fills into a pod when the user leaves them out. Pure; fills in place.

Also a kubelet does so, for pods that come from files: the agent fills static pods, ``devcluster``
the pods of its API server. Works on an object that the caller owns and that has a pod's shape.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.objects import Json


def fill(target: Json, **values: object) -> None:
    for name, value in values.items():
        if target.get(name) is None:
            target[name] = value


def all_containers(spec: Json) -> Iterator[Json]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or []


def fill_pod(pod: Json) -> None:
    spec = pod.setdefault("spec", {})
    fill(spec, restartPolicy="Always", dnsPolicy="ClusterFirst", schedulerName="default-scheduler")
    fill(spec, terminationGracePeriodSeconds=30, securityContext={}, enableServiceLinks=True)
    same_account(spec)
    for container in all_containers(spec):
        _container(container, host_network=spec.get("hostNetwork") is True)
    for volume in spec.get("volumes") or []:
        _volume(volume)


def same_account(spec: Json) -> None:
    """``serviceAccount`` is the old name of ``serviceAccountName``; both are always shown."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name


def _container(container: Json, *, host_network: bool) -> None:
    fill(container, resources={}, imagePullPolicy=pull_policy(str(container.get("image", ""))))
    fill(container, terminationMessagePath="/dev/termination-log")
    fill(container, terminationMessagePolicy="File")
    limits = container["resources"].get("limits") or {}
    if limits:
        container["resources"]["requests"] = limits | (container["resources"].get("requests") or {})
    for port in container.get("ports") or []:
        fill(port, protocol="TCP")
        if host_network and "containerPort" in port:
            fill(port, hostPort=port["containerPort"])
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            _probe(container[probe])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict) and "httpGet" in hook:
            _http(hook["httpGet"])
    for variable in container.get("env") or []:
        field = (variable.get("valueFrom") or {}).get("fieldRef")
        if field is not None:
            fill(field, apiVersion="v1")


def pull_policy(image: str) -> str:
    """Always for ``latest`` and for no tag at all, else IfNotPresent."""
    name, at, _ = image.partition("@")
    if at:
        return "IfNotPresent"
    _, colon, tag = name.rpartition("/")[2].partition(":")
    return "IfNotPresent" if colon and tag != "latest" else "Always"


def _probe(probe: Json) -> None:
    fill(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    if "httpGet" in probe:
        _http(probe["httpGet"])
    if "grpc" in probe:
        fill(probe["grpc"], service="")


def _http(action: Json) -> None:
    fill(action, path="/", scheme="HTTP")


def _volume(volume: Json) -> None:
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}
    for source in ("configMap", "secret", "downwardAPI", "projected"):
        if source in volume:
            fill(volume[source], defaultMode=0o644)
    if "hostPath" in volume:
        fill(volume["hostPath"], type="")
    downward = list((volume.get("downwardAPI") or {}).get("items") or [])
    for part in (volume.get("projected") or {}).get("sources") or []:
        downward += (part.get("downwardAPI") or {}).get("items") or []
        if "serviceAccountToken" in part:
            fill(part["serviceAccountToken"], expirationSeconds=3600)
    for item in downward:
        if "fieldRef" in item:
            fill(item["fieldRef"], apiVersion="v1")
