"""Which objects a pod names, and its claims in their turn: all that its node may see. Pure.

ConfigMaps, Secrets and PersistentVolumeClaims of its own namespace, those among them that the
cluster makes for its ephemeral volumes, of a claim the one PersistentVolume that it is bound to,
and its RuntimeClass. Optional ones count as well; names that no object can have are left out. What
else a pod could name (service accounts, objects of storage drivers) does not travel.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.objects import NO_NAMESPACE, Json, ObjectKey, is_name

CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def references_of(pod: Json) -> frozenset[ObjectKey]:
    namespace, spec = pod["metadata"]["namespace"], pod.get("spec") or {}
    named = _named(pod["metadata"]["name"], spec)
    found = {ObjectKey(kind, namespace, str(name)) for kind, name in named if is_name(name)}
    runtime_class = spec.get("runtimeClassName")
    if is_name(runtime_class):
        found.add(ObjectKey("RuntimeClass", NO_NAMESPACE, str(runtime_class)))
    return frozenset(found)


def named_by(key: ObjectKey, obj: Json) -> frozenset[ObjectKey]:
    """What an object names that a pod names."""
    if key.kind != "PersistentVolumeClaim":
        return frozenset()
    volume = (obj.get("spec") or {}).get("volumeName")
    if not is_name(volume):
        return frozenset()
    return frozenset({ObjectKey("PersistentVolume", NO_NAMESPACE, str(volume))})


def _named(pod: str, spec: Json) -> Iterator[tuple[str, object]]:
    for secret in spec.get("imagePullSecrets") or ():
        yield "Secret", secret.get("name")
    for container in (one for kind in CONTAINERS for one in spec.get(kind) or ()):
        yield from _named_by_container(container)
    for volume in spec.get("volumes") or ():
        yield from _named_by_volume(pod, volume)


def _named_by_container(container: Json) -> Iterator[tuple[str, object]]:
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        yield "ConfigMap", (source.get("configMapKeyRef") or {}).get("name")
        yield "Secret", (source.get("secretKeyRef") or {}).get("name")
    for source in container.get("envFrom") or ():
        yield "ConfigMap", (source.get("configMapRef") or {}).get("name")
        yield "Secret", (source.get("secretRef") or {}).get("name")


def _named_by_volume(pod: str, volume: Json) -> Iterator[tuple[str, object]]:
    yield "ConfigMap", (volume.get("configMap") or {}).get("name")
    yield "Secret", (volume.get("secret") or {}).get("secretName")
    claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
    yield "PersistentVolumeClaim", claim
    if volume.get("ephemeral") is not None:
        yield "PersistentVolumeClaim", f"{pod}-{volume.get('name')}"
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield "ConfigMap", (source.get("configMap") or {}).get("name")
        yield "Secret", (source.get("secret") or {}).get("name")
