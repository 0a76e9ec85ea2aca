"""The cluster's Services as pods need them for their variables: an address and ports, no more.

Holds those that have a cluster IP, trimmed, so that an edit of labels, of endpoints or of a status
is no change. Also knows which nodes take which: those with a pod in the Service's namespace that
wants the variables, and every node the ``kubernetes`` Service, which a kubelet gives to every pod.
Pure. ``fleet.py`` owns it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from cloudhub.fleet.trimming import Body, sorted_maps
from shared import codec
from shared.messages import Entry
from shared.objects import Json, ObjectKey, is_name

API_SERVICE = ObjectKey("Service", "default", "kubernetes")
HEADLESS = "None"


class Services:
    def __init__(self) -> None:
        self.known = False
        """Whether they were listed: before that nobody can say which there are."""
        self._bodies: dict[str, dict[ObjectKey, Body]] = {}
        self._users: dict[str, Counter[str]] = {}

    # -- what the API says; each answers the keys that are another thing now

    def replace(self, services: Iterable[Json]) -> set[ObjectKey]:
        self.known = True
        found = {body.key: body for one in services if (body := service_body(one))}
        held = {key for rows in self._bodies.values() for key in rows}
        return {key for key in found.keys() | held if self._set(key, found.get(key))}

    def put(self, service: Json) -> set[ObjectKey]:
        key = _key(service)
        return {key} if key and self._set(key, service_body(service)) else set()

    def drop(self, service: Json) -> set[ObjectKey]:
        key = _key(service)
        return {key} if key and self._set(key, None) else set()

    def _set(self, key: ObjectKey, body: Body | None) -> bool:
        """Whether it makes a difference."""
        old = self.body(key)
        if (old and old.digest) == (body and body.digest):
            return False
        rows = self._bodies.setdefault(key.namespace, {})
        if body is not None:
            rows[key] = body
            return True
        del rows[key]
        if not rows:
            del self._bodies[key.namespace]
        return True

    # -- who takes them

    def claim(self, namespace: str, node: str) -> None:
        """One more pod of the node wants those of the namespace."""
        self._users.setdefault(namespace, Counter())[node] += 1

    def release(self, namespace: str, node: str) -> None:
        users = self._users[namespace]
        users[node] -= 1
        if not users[node]:
            del users[node]
        if not users:
            del self._users[namespace]

    def users(self, keys: Iterable[ObjectKey], nodes: Iterable[str]) -> set[str]:
        """Which of all ``nodes`` take one of these."""
        keys = set(keys)
        if API_SERVICE in keys:
            return set(nodes)
        return {node for key in keys for node in self._users.get(key.namespace, ())}

    def entries(self, namespaces: Iterable[str]) -> dict[ObjectKey, Entry]:
        """For a node whose pods want those of these namespaces."""
        api = self.body(API_SERVICE)
        rows = [self._of(namespace) for namespace in namespaces]
        rows += [{API_SERVICE: api}] if api else []
        return {key: Entry(body.digest) for row in rows for key, body in row.items()}

    def body(self, key: ObjectKey) -> Body | None:
        return self._of(key.namespace).get(key)

    def _of(self, namespace: str) -> Mapping[ObjectKey, Body]:
        return self._bodies.get(namespace, {})


def service_body(service: Json) -> Body | None:
    """None for one that gives no variables: headless, external, or without an address yet."""
    key, spec = _key(service), service.get("spec") or {}
    address = spec.get("clusterIP")
    if key is None or not address or address == HEADLESS:
        return None
    trimmed = {"clusterIP": address, "ports": [_port(port) for port in spec.get("ports") or ()]}
    packed = codec.pack(sorted_maps({"spec": trimmed}))
    return Body(key, packed, codec.digest(packed))


def _port(port: Json) -> Json:
    """What is not said is TCP, as in the API."""
    kept = {"port": port["port"]}
    if port.get("name"):
        kept["name"] = port["name"]
    if port.get("protocol", "TCP") != "TCP":
        kept["protocol"] = port["protocol"]
    return kept


def _key(service: Json) -> ObjectKey | None:
    name = service["metadata"]["name"]
    return ObjectKey.of("Service", service) if is_name(name) else None
