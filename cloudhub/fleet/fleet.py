"""What every managed node should have: its own pods, what those name, and what it is to refuse.

Holds managed nodes with their pods, taints and labels, referenced objects and Services, nothing
else. Mirror pods stand aside: they are the API's copies of what devices run by themselves, and no
list ever has them. Every input answers with its ``Effects``; nothing here reads, waits or sends.
Invariants: a node is never said to want a list before all its pods were listed, and an object that
was not fetched yet is ``pending``, which is not absence. Inputs come from ``sync.py`` (the Node
objects) and from ``feeds/``; ``downlink.py`` reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from cloudhub.fleet.placing import Placing
from cloudhub.fleet.pods import PodRecord, is_mirror, mirror_of, node_of, record_of
from cloudhub.fleet.referenced import ReferencedObjects
from cloudhub.fleet.revisions import Reached
from cloudhub.fleet.services import Services
from cloudhub.fleet.trimming import Body
from shared.errors import WireError
from shared.messages import Entry
from shared.objects import Json, ObjectKey
from shared.static_pods import pod_key


@dataclass(slots=True)
class Effects:
    """What an input changed."""

    dirty: set[str] = field(default_factory=set)
    """Nodes whose wanted list may differ now."""
    fetch: set[ObjectKey] = field(default_factory=set)
    """Objects that are named now and were not before."""
    look: set[str] = field(default_factory=set)
    """Nodes whose labels must be read before pods are refused for them (``ascertain``)."""
    pods: set[ObjectKey] = field(default_factory=set)
    """Pods of which the API said something new, gone ones included."""
    mirrors: set[tuple[str, ObjectKey]] = field(default_factory=set)
    """Nodes and names of mirror pods of which the API said something new, gone ones included."""
    gone: list[PodRecord] = field(default_factory=list)
    """The last state of pods that the API no longer has."""
    listed: set[str] = field(default_factory=set)
    """Nodes whose pods are all known from now on."""
    unfit: list[tuple[Json, WireError]] = field(default_factory=list)
    """Pods that no message can carry."""


@dataclass(slots=True)
class Wanted:
    entries: dict[ObjectKey, Entry]
    pending: frozenset[ObjectKey]
    """Named, but not fetched yet: what the node has of them stays."""
    awaited: frozenset[ObjectKey] = frozenset()
    """Those of them without which no pod that names one may begin."""
    services_known: bool = True
    """While they are not, what the node has of Services stays."""
    doubtful: bool = False
    """Whether the Node is being read, to see whether a pod is to be refused."""

    @property
    def complete(self) -> bool:
        return self.services_known and not self.pending


@dataclass(slots=True)
class _Node:
    pods: dict[ObjectKey, PodRecord] = field(default_factory=dict)
    mirrors: dict[ObjectKey, PodRecord] = field(default_factory=dict)
    listed: bool = False
    touched: set[ObjectKey] = field(default_factory=set)
    """Pods that the watch told of since the node is managed: newer than a list asked for then."""
    wanted: Wanted | None = None
    placing: Placing = field(default_factory=Placing)


class Fleet:
    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._pods: dict[ObjectKey, PodRecord] = {}
        self._mirrors: dict[ObjectKey, PodRecord] = {}
        self._objects = ReferencedObjects()
        self._services = Services()
        self.reached = Reached()
        """Of the API's pods, by what ``pod_feed`` told."""

    # -- what others ask

    def nodes(self) -> Collection[str]:
        return self._nodes.keys()

    def listed(self, node: str) -> bool:
        found = self._nodes.get(node)
        return found is not None and found.listed

    def wanted(self, node: str) -> Wanted | None:
        """None while it is not known: not managed, or its pods are not listed."""
        found = self._nodes.get(node)
        if found is None or not found.listed:
            return None
        if found.wanted is None:
            found.wanted = self._wanted(found)
        return found.wanted

    def body(self, key: ObjectKey) -> Body | None:
        if key.kind == "Pod":
            pod = self._pods.get(key)
            return pod.body if pod else None
        if key.kind == "Service":
            return self._services.body(key)
        if key.kind == "Node":
            node = self._nodes.get(key.name)
            return node.placing.body if node else None
        return self._objects.body(key)

    def pod(self, key: ObjectKey) -> PodRecord | None:
        return self._pods.get(key)

    def mirror(self, key: ObjectKey) -> PodRecord | None:
        return self._mirrors.get(key)

    def reported_as(self, key: ObjectKey) -> PodRecord | None:
        """What a report under this key is about."""
        return self.mirror(pod_key(key)) if key.kind == "StaticPod" else self.pod(key)

    def mirrors(self, node: str) -> Collection[PodRecord]:
        found = self._nodes.get(node)
        return found.mirrors.values() if found else ()

    def pods(self, node: str) -> Iterator[PodRecord]:
        found = self._nodes.get(node)
        return iter(found.pods.values() if found else ())

    def referenced(self) -> Collection[ObjectKey]:
        return self._objects.keys()

    def version(self, key: ObjectKey) -> str | None:
        """Of a referenced object; empty when the API has none, None when that is not known."""
        return self._objects.version(key)

    def is_referenced(self, key: ObjectKey) -> bool:
        return key in self._objects

    # -- nodes

    def manage(self, node: str) -> bool:
        """Whether the node is new here: then its pods must be listed."""
        if node in self._nodes:
            return False
        self._nodes[node] = _Node()
        return True

    def unmanage(self, node: str) -> None:
        """Forget the node and its pods; nothing is published because of that."""
        found = self._nodes.pop(node, None)
        for record in found.pods.values() if found else ():
            del self._pods[record.key]
            self._let_go(record)
        for key in found.mirrors if found else ():
            del self._mirrors[key]

    def describe(self, node: str, taints: list[Json], labels: Mapping[str, str]) -> Effects:
        """What pods that are new there must tolerate, and what they may ask for; all of it."""
        effects, found = Effects(), self._nodes.get(node)
        if found is not None and found.placing.learn(taints, labels):
            self._judge(node, found, effects)
        return effects

    def doubted(self, node: str) -> frozenset[str]:
        """Uids of its pods at the door, while one of them is refused unless the Node, when it is
        read, has other labels."""
        found = self._nodes.get(node)
        return found.placing.doubted(found.pods.values()) if found else frozenset()

    def ascertain(self, node: str, uids: frozenset[str]) -> Effects:
        """The Node was read since ``doubted`` named these, and given to ``describe``."""
        effects, found = Effects(), self._nodes.get(node)
        if found is not None:
            found.placing.ascertain(uids, found.pods.values())
            self._judge(node, found, effects)
        return effects

    def _judge(self, name: str, node: _Node, effects: Effects) -> None:
        if node.placing.judge(name, node.pods.values()):
            node.wanted = None
            effects.dirty.add(name)
        if node.placing.doubtful:
            effects.look.add(name)

    def list_node(self, node: str, pods: Iterable[Json]) -> Effects:
        """The answer to a list that was asked for after ``manage``."""
        effects = Effects()
        found = self._nodes.get(node)
        if found is None or found.listed:
            return effects
        touched, found.listed = found.touched, True
        for pod in pods:
            if ObjectKey.of("Pod", pod) not in touched:
                self._put(pod, effects)
        found.touched = set()
        effects.listed.add(node)
        return effects

    # -- pods

    def list_pods(self, pods: Iterable[Json]) -> Effects:
        """A complete list: what is not in it is gone."""
        effects = Effects()
        keys = set()
        for pod in pods:
            keys.add(ObjectKey.of("Pod", pod))
            self._put(pod, effects)
        for key in sorted({*self._pods, *self._mirrors} - keys):
            self._drop(key, effects)
        for name, node in self._nodes.items():
            if not node.listed:
                effects.listed.add(name)
            node.listed, node.touched = True, set()
        return effects

    def put_pod(self, pod: Json) -> Effects:
        """The watch may lag behind a list that was asked for since: older news are none."""
        effects = Effects()
        known = self._known(ObjectKey.of("Pod", pod))
        if known is None or not known.is_newer_than(pod):
            self._put(pod, effects)
        return effects

    def put_answer(self, pod: Json) -> Effects:
        """A pod as a write or a read gave it; one that was deleted meanwhile does not come back."""
        gone = self._known(ObjectKey.of("Pod", pod)) is None
        if gone and self.reached.has_told(pod["metadata"]["resourceVersion"]):
            return Effects()
        return self.put_pod(pod)

    def drop_pod(self, pod: Json) -> Effects:
        effects = Effects()
        key = ObjectKey.of("Pod", pod)
        known = self._known(key)
        if known is not None and known.uid != pod["metadata"]["uid"]:
            return effects
        self._touch(key, node_of(pod))
        self._drop(key, effects)
        return effects

    def _known(self, key: ObjectKey) -> PodRecord | None:
        return self._pods.get(key) or self._mirrors.get(key)

    def set_over(self, record: PodRecord, over: bool) -> Effects:
        """Whether the node runs a pod that has finished: then its list says to stop it."""
        effects = Effects()
        if record.over != over and self._pods.get(record.key) is record:
            node, newer = self._nodes[record.node], replace(record, over=over)
            self._pods[record.key] = node.pods[record.key] = newer
            self._note_change(node, record, newer, effects)
        return effects

    def _put(self, pod: Json, effects: Effects) -> None:
        key, name = ObjectKey.of("Pod", pod), node_of(pod)
        node = self._nodes.get(name)
        if node is None:
            self._drop(key, effects)
            return
        self._touch(key, name)
        if is_mirror(pod):
            self._put_mirror(node, mirror_of(key, pod), effects)
            return
        if key in self._mirrors:
            self._drop(key, effects)
        old = self._pods.get(key)
        if old is not None and old.is_of(pod):
            return
        try:
            record = record_of(key, pod, old)
        except WireError as error:
            effects.unfit.append((pod, error))
            return
        if old is not None and (old.node != name or old.uid != record.uid):
            self._drop(key, effects)
            old = None
        self._pods[key] = node.pods[key] = record
        effects.pods.add(key)
        self._note_change(node, old, record, effects)

    def _note_change(
        self, node: _Node, old: PodRecord | None, record: PodRecord, effects: Effects
    ) -> None:
        if old is None or old.entry != record.entry:
            node.wanted = None
            effects.dirty.add(record.node)
        if record.decided_by or (old is not None and old.decided_by):
            self._judge(record.node, node, effects)
        if old is None and record.links:
            self._services.claim(record.key.namespace, record.node)
        before = old.references if old else frozenset()
        if before != record.references:
            effects.fetch |= self._objects.claim(record.node, record.references - before)
            self._objects.release(record.node, before - record.references)

    def _put_mirror(self, node: _Node, record: PodRecord, effects: Effects) -> None:
        key, old = record.key, self._known(record.key)
        if old is not None and (old.node, old.uid) != (record.node, record.uid):
            self._drop(key, effects)
        self._mirrors[key] = node.mirrors[key] = record
        effects.mirrors.add((record.node, key))

    def _drop(self, key: ObjectKey, effects: Effects) -> None:
        mirror = self._mirrors.pop(key, None)
        if mirror is not None:
            del self._nodes[mirror.node].mirrors[key]
            effects.mirrors.add((mirror.node, key))
            effects.gone.append(mirror)
        record = self._pods.pop(key, None)
        if record is None:
            return
        node = self._nodes[record.node]
        del node.pods[key]
        node.wanted = None
        self._let_go(record)
        if record.decided_by:
            self._judge(record.node, node, effects)
        effects.dirty.add(record.node)
        effects.pods.add(key)
        effects.gone.append(record)

    def _let_go(self, record: PodRecord) -> None:
        self._objects.release(record.node, record.references)
        if record.links:
            self._services.release(record.key.namespace, record.node)

    def _touch(self, key: ObjectKey, name: str) -> None:
        node = self._nodes.get(name)
        if node is not None and not node.listed:
            node.touched.add(key)

    # -- referenced objects

    def put_object(self, key: ObjectKey, obj: Json | None) -> Effects:
        """What a fetch found; None = the API has no such object."""
        nodes, fetch = self._objects.put(key, obj)
        return replace(self._wanting(set(nodes)), fetch=fetch)

    def refuse_object(self, key: ObjectKey) -> Effects:
        """The hub may not read it: it stays unknown, and nobody waits for it."""
        return self._wanting(set(self._objects.refuse(key)))

    # -- services

    def list_services(self, services: Iterable[Json]) -> Effects:
        first = not self._services.known
        changed = self._services.replace(services)
        return self._wanting(set(self._nodes)) if first else self._want_anew(changed)

    def put_service(self, service: Json) -> Effects:
        return self._want_anew(self._services.put(service))

    def drop_service(self, service: Json) -> Effects:
        return self._want_anew(self._services.drop(service))

    def _want_anew(self, changed: set[ObjectKey]) -> Effects:
        return self._wanting(set(self._services.users(changed, self._nodes)) if changed else set())

    def _wanting(self, nodes: set[str]) -> Effects:
        for name in nodes:
            self._nodes[name].wanted = None
        return Effects(dirty=nodes)

    # -- users

    def users(self, key: ObjectKey, node: str) -> Iterator[PodRecord]:
        """The node's pods that need this object, or the pod itself."""
        if key.kind == "Pod":
            pod = self._pods.get(key)
            return iter((pod,) if pod else ())
        return (pod for pod in self.pods(node) if key in self._needs([pod]))

    def _needs(self, pods: Iterable[PodRecord]) -> set[ObjectKey]:
        """What these pods name, and what that names in its turn."""
        return self._objects.with_their_own({key for pod in pods for key in pod.references})

    def _wanted(self, node: _Node) -> Wanted:
        entries = {key: record.entry for key, record in node.pods.items()}
        linked = {record.key.namespace for record in node.pods.values() if record.links}
        entries |= self._services.entries(linked)
        if node.placing.body is not None:
            entries[node.placing.body.key] = Entry(node.placing.body.digest)
        referenced, pending = self._objects.entries(self._needs(node.pods.values()))
        return Wanted(
            entries | referenced,
            pending=frozenset(pending),
            awaited=self._objects.awaited(pending),
            services_known=self._services.known,
            doubtful=node.placing.doubtful,
        )
