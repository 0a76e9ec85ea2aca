"""What this device should run: the applied list, the bodies it holds, and the pods in them.

``Desired`` is the value that is stored and decided upon; ``DesiredSet`` is the live view that the
pods layer reads. Static pods, which the device itself has in files, stand beside those of the hub:
neither source says anything about the other's pods. Invariant: absence of a pod means something
only when ``may_stop`` says so, that is when its source is known and does not have it. Pure;
``session`` and ``staticpods`` replace, ``pods`` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from edgeagent.podshape import RejectedPod, admit
from shared import codec
from shared.errors import WireError
from shared.messages import Inventory
from shared.objects import Json, ObjectKey
from shared.static_pods import SOURCE, is_static, pod_key

_USED = frozenset(
    {
        "Pod",
        "ConfigMap",
        "Secret",
        "PersistentVolumeClaim",
        "PersistentVolume",
        "RuntimeClass",
        "Service",
        "Node",
    }
)
"""Kinds that this agent does something with; of others, from a newer hub, it needs no body."""


@dataclass(frozen=True, slots=True)
class Body:
    """A packed object and the digest that names it."""

    digest: bytes
    packed: bytes = field(repr=False)

    @classmethod
    def of(cls, packed: bytes) -> Body:
        return cls(codec.digest(packed), packed)


@dataclass(frozen=True)
class Desired:
    """An inventory with the newest body held for each of its keys.

    Revision 0 = no list is known (a new device, or a damaged one): absence means nothing. A body
    whose digest is not its entry's is an older one that serves until the right one comes.
    """

    inventory: Inventory = field(default_factory=lambda: Inventory(0, {}))
    bodies: Mapping[ObjectKey, Body] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        return self.inventory.revision > 0

    def wants(self, key: ObjectKey, digest: bytes) -> bool:
        entry = self.inventory.entries.get(key)
        return entry is not None and entry.digest == digest and key.kind in _USED

    def holds(self, key: ObjectKey) -> bool:
        """Whether the right body of a listed key is here."""
        body = self.bodies.get(key)
        return body is not None and self.wants(key, body.digest)

    def missing(self) -> frozenset[ObjectKey]:
        listed = (key for key in self.inventory.entries if key.kind in _USED)
        return frozenset(key for key in listed if not self.holds(key))

    def accept(self, inventory: Inventory, bodies: Mapping[ObjectKey, Body]) -> Desired:
        """The whole list replaced; of the bodies stay those that it lists."""
        kept = {key: body for key, body in self.bodies.items() if key in inventory.entries}
        return replace(self, inventory=inventory, bodies=kept).with_bodies(bodies)

    def with_bodies(self, bodies: Mapping[ObjectKey, Body]) -> Desired:
        fitting = {key: body for key, body in bodies.items() if self.wants(key, body.digest)}
        return replace(self, bodies={**self.bodies, **fitting}) if fitting else self


@dataclass(frozen=True, slots=True)
class DesiredPod:
    uid: str
    key: ObjectKey
    pod: Json
    grace: int | None
    """Set when the pod is being deleted: seconds it may take to stop."""


class DesiredSet:
    """The newest ``Desired``, taken apart; subscribers are told which keys changed."""

    def __init__(self) -> None:
        self.desired = Desired()
        self._pods: dict[str, DesiredPod] = {}
        self._rejected: dict[ObjectKey, RejectedPod] = {}
        self._by_key: dict[ObjectKey, DesiredPod] = {}
        self._static: dict[ObjectKey, DesiredPod] = {}
        self._static_known = False
        self._static_doubtful = False
        self._static_seen: set[str] = set()
        """Uids that the folder has given since the start, or before it."""
        self._subscribers: list[Callable[[frozenset[ObjectKey]], None]] = []

    @property
    def known(self) -> bool:
        """Whether any list is applied; before that nothing that runs may be stopped."""
        return self.desired.known

    @property
    def revision(self) -> int:
        return self.desired.inventory.revision

    def pods(self) -> Mapping[str, DesiredPod]:
        """By uid: every listed pod of which a valid body is held, and every static one."""
        return self._pods

    def static_pods(self) -> Collection[DesiredPod]:
        return self._static.values()

    def rejected(self) -> Mapping[ObjectKey, RejectedPod]:
        """Listed pods whose body cannot be used."""
        return self._rejected

    def get(self, key: ObjectKey) -> Json | None:
        """A listed object (ConfigMap, Secret, Pod), or None while it is not here."""
        body = self.desired.bodies.get(key)
        return _unpacked(body) if body is not None else None

    def services(self, namespace: str) -> dict[str, Json]:
        """By name, the listed Services of a namespace, as far as they are here."""
        found = {key.name: self.get(key) for key in self._services(namespace)}
        return {name: service for name, service in found.items() if service is not None}

    def awaited_services(self, namespace: str) -> set[str]:
        """Names of the listed ones of which nothing has come yet."""
        listed = self._services(namespace)
        return {key.name for key in listed if key not in self.desired.bodies}

    def _services(self, namespace: str) -> Iterator[ObjectKey]:
        for key in self.desired.inventory.entries:
            if key.kind == "Service" and key.namespace == namespace:
                yield key

    def runtime_classes(self) -> dict[str, str]:
        """Handlers of the listed RuntimeClasses by name; empty for one that has not come yet."""
        listed = [key for key in self.desired.inventory.entries if key.kind == "RuntimeClass"]
        return {key.name: str((self.get(key) or {}).get("handler") or "") for key in listed}

    def expects(self, key: ObjectKey) -> bool:
        return key in self.desired.inventory.entries

    @property
    def complete(self) -> bool:
        """Whether the uid of every pod is known that should be here: another one is nobody's."""
        listed = {key for key in self.desired.inventory.entries if key.kind == "Pod"}
        here = listed <= self._by_key.keys() - self.desired.missing()
        return self.known and self._static_known and here

    def concerns(self, key: ObjectKey, uid: str) -> bool:
        """Whether a report about this pod is still wanted by anybody."""
        if key.kind == "StaticPod":
            found = self._static.get(pod_key(key))
            return found is not None and found.uid == uid
        if not self.known:
            return True
        pod = self._by_key.get(key)
        return self.expects(key) and (pod is None or pod.uid == uid)

    def may_stop(self, uid: str, key: ObjectKey) -> bool:
        """Whether a valid list says that the pod with this uid and name should not be here.

        Not while no list is known, nor while the list has its name but the right body is missing
        or cannot be read: then this may be the very pod that is wanted. Of static pods only the
        device's own folder says so.
        """
        if is_static(uid):
            theirs = uid in self._static_seen or not self._static_doubtful
            return self._static_known and theirs and uid not in self._pods
        if not self.known or uid in self._pods:
            return False
        if not self.expects(key):
            return True
        return self.desired.holds(key) and key in self._by_key

    def subscribe(self, told: Callable[[frozenset[ObjectKey]], None]) -> None:
        self._subscribers.append(told)

    def replace(self, desired: Desired) -> frozenset[ObjectKey]:
        """Take over a newer ``Desired``; returns and tells which keys changed in any way."""
        changed = _changed(self.desired, desired)
        self.desired = desired
        for key in sorted(changed):
            if key.kind == "Pod":
                self._read_pod(key)
        self._merge()
        if changed:
            self._tell(changed)
        return changed

    def replace_static(
        self, pods: Mapping[ObjectKey, DesiredPod], *, known: bool, doubtful: bool = False
    ) -> None:
        """All static pods; ``known``: the folder was read, so that absence means something.

        ``doubtful``: there is a file that cannot be used. A pod that was never seen may be its
        last good one, which a lost database has forgotten.
        """
        old, learned = self._static, known and not self._static_known
        learned |= self._static_doubtful and not doubtful
        self._static_doubtful = doubtful
        self._static_seen.update(pod.uid for pod in pods.values())
        changed = {key for key in old.keys() | pods.keys() if old.get(key) != pods.get(key)}
        self._static, self._static_known = dict(pods), known or self._static_known
        self._merge()
        if changed or learned:
            self._tell(frozenset(changed))

    def _merge(self) -> None:
        both = [*sorted(self._by_key.items()), *sorted(self._static.items())]
        self._pods = {pod.uid: pod for _, pod in both}

    def _tell(self, changed: frozenset[ObjectKey]) -> None:
        for told in self._subscribers:
            told(changed)

    def _read_pod(self, key: ObjectKey) -> None:
        self._by_key.pop(key, None)
        self._rejected.pop(key, None)
        entry, body = self.desired.inventory.entries.get(key), self.desired.bodies.get(key)
        if entry is None or body is None:
            return
        found = admit(key, _unpacked(body))
        if isinstance(found, str) and is_static(found):
            found = RejectedPod(key, "", "metadata.uid is not one of the API server's")
        if isinstance(found, RejectedPod):
            self._rejected[key] = replace(found, grace=entry.grace)
        else:
            pod = _from_api(_unpacked(body) or {})
            self._by_key[key] = DesiredPod(found, key, pod, entry.grace)


def _unpacked(body: Body) -> Json | None:
    try:
        value = codec.unpack(body.packed)
    except WireError:
        return None
    return value if isinstance(value, dict) else None


def _from_api(pod: Json) -> Json:
    """What says that a pod is static, and so critical, is the device's to say alone."""
    metadata = pod.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    if SOURCE not in annotations:
        return pod
    return {**pod, "metadata": {**metadata, "annotations": {**annotations, SOURCE: "api"}}}


def _changed(old: Desired, new: Desired) -> frozenset[ObjectKey]:
    if old is new:
        return frozenset()
    entries = set(old.inventory.entries.items()) ^ set(new.inventory.entries.items())
    bodies = {
        key
        for key in old.bodies.keys() | new.bodies.keys()
        if old.bodies.get(key) != new.bodies.get(key)
    }
    return frozenset(bodies.union(key for key, _ in entries))
