"""From a URL path to what it names: a resource, a namespace, an object, a sub-resource. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from devcluster.apiserver.objects import Target
from devcluster.apiserver.resources import NAMESPACES, Resource, find
from devcluster.apiserver.status import no_such_path

_ALL_NAMESPACES = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A collection (``name`` empty) or one object; the namespace is empty for "all" or "none"."""

    resource: Resource
    namespace: str
    name: str
    subresource: str

    @property
    def target(self) -> Target:
        return Target(self.resource, self.namespace, self.name, self.subresource)


def parse(path: str) -> Place:
    """Where ``/api/v1/…`` or ``/apis/group/version/…`` leads; 404 when nowhere."""
    parts = [part for part in path.split("/") if part]
    match parts:
        case ["api", version, *rest]:
            return _place("", version, rest)
        case ["apis", group, version, *rest]:
            return _place(group, version, rest)
        case _:
            raise no_such_path()


def _place(group: str, version: str, rest: list[str]) -> Place:
    own = {sub.name for sub in NAMESPACES.subresources}
    if len(rest) >= 3 and rest[0] == "namespaces" and not (len(rest) == 3 and rest[2] in own):
        return _in(group, version, rest[2:], rest[1])
    return _in(group, version, rest, _ALL_NAMESPACES)


def _in(group: str, version: str, rest: list[str], namespace: str) -> Place:
    if not 1 <= len(rest) <= 3:
        raise no_such_path()
    plural, name, subresource = [*rest, "", ""][:3]
    resource = find(group, version, plural)
    if resource is None or (namespace and not resource.namespaced):
        raise no_such_path()
    if name and resource.namespaced and not namespace:
        raise no_such_path()
    if subresource and subresource not in {sub.name for sub in resource.subresources}:
        raise no_such_path()
    return Place(resource, namespace, name, subresource)
