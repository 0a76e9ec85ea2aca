"""The downward API: fields of the pod and resources of its containers as text.

Pure. Used for environment variables and for downwardAPI volumes; a path that is not documented
raises ``ValueError`` with a kubelet's words, and the caller says what could not be made by it.
"""

from __future__ import annotations

import re
from fractions import Fraction

from edgeagent.pods.model import specs
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.resources import amounts, quantities
from shared.objects import Json

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")
_IS_CPU = "cpu"
_OF_THE_NODE = ("cpu", "memory", "ephemeral-storage")
"""What a container without a limit can take all of; huge pages are not among it."""


def field_value(pod: Json, path: str, *, node: NodeFacts, ips: tuple[str, ...]) -> str:
    """The field as one line (several for whole maps of labels and annotations)."""
    metadata = pod["metadata"]
    if subscript := _SUBSCRIPT.fullmatch(path):
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        return _lines(metadata.get(path.removeprefix("metadata.")) or {})
    values = {
        "metadata.name": specs.name_of(pod),
        "metadata.namespace": specs.namespace_of(pod),
        "metadata.uid": specs.uid_of(pod),
        "spec.nodeName": pod["spec"].get("nodeName") or node.name,
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName") or "",
        "spec.restartPolicy": specs.restart_policy(pod),
        "status.hostIP": next(iter(node.ips), ""),
        "status.hostIPs": ",".join(node.ips),
        "status.podIP": next(iter(ips), ""),
        "status.podIPs": ",".join(ips),
    }
    if path not in values:
        raise ValueError(f"unsupported fieldPath: {path}")
    return str(values[path])


def container_of(ref: Json, pod: Json) -> Json:
    """The one that it names; ephemeral ones cannot be named, on a kubelet neither."""
    name = str(ref.get("containerName") or "")
    for one in (*specs.mains(pod), *specs.inits(pod)):
        if one["name"] == name:
            return one
    raise ValueError(f"container {name} not found")


def resource_value(
    ref: Json, container: Json, *, pod: Json, node: NodeFacts, is_limited: bool = True
) -> str:
    """``limits.cpu`` and the like in units of the divisor, rounded up.

    A limit that is not set, or is zero, is the pod's as a whole, else what the node has (and 0
    where nothing limits it: ``is_limited``); a request that is not set is the limit that was.
    """
    kind, _, resource = str(ref.get("resource", "")).partition(".")
    known = resource in _OF_THE_NODE or resource.startswith(amounts.HUGEPAGES)
    if kind not in ("limits", "requests") or not known:
        raise ValueError(f"unsupported container resource : {ref.get('resource')}")
    if kind == "requests":
        amount = amounts.requested(container).get(resource, Fraction(0))
    elif is_limited:
        amount = _limit(container, resource, pod=pod, node=node)
    else:
        amount = amounts.of(container, "limits").get(resource, Fraction(0))
    divisor = quantities.parse(ref.get("divisor") or "1") or Fraction(1)
    if resource == _IS_CPU:
        return str(quantities.whole(Fraction(quantities.milli(amount), quantities.milli(divisor))))
    return str(quantities.whole(Fraction(quantities.whole(amount), quantities.whole(divisor))))


def _limit(container: Json, resource: str, *, pod: Json, node: NodeFacts) -> Fraction:
    own = amounts.of(container, "limits").get(resource, Fraction(0))
    if own or resource not in _OF_THE_NODE:
        return own
    whole_node = node.allocatable.get(resource, Fraction(0))
    return amounts.limits(pod, container).get(resource) or whole_node


def _lines(values: Json) -> str:
    return "\n".join(f"{key}={quoted(str(values[key]))}" for key in sorted(values))


_ESCAPES = {
    "\\": "\\\\",
    '"': '\\"',
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def quoted(text: str) -> str:
    """A double-quoted string in Go's syntax: what applications parse annotation files with."""
    return '"' + "".join(_quoted(character) for character in text) + '"'


def _quoted(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
