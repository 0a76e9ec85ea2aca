"""Objects as ``meta.k8s.io`` tables: what ``kubectl get`` prints. Pure.

A kind without columns of its own is shown by name and creation time, as a real server does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from devcluster.apiserver.durations import age_text
from devcluster.apiserver.podcolumns import pod_columns, readiness_gates
from devcluster.apiserver.stamps import parse_time
from devcluster.apiserver.status import Json, bad_request

Cells = Callable[[Json, float], list[Any]]


@dataclass(frozen=True, slots=True)
class Columns:
    names: tuple[str, ...]
    cells: Cells
    wide: frozenset[str] = frozenset()
    """Columns that only ``-o wide`` shows."""

    def definitions(self) -> list[Json]:
        return [self._definition(name) for name in self.names]

    def _definition(self, name: str) -> Json:
        return {
            "name": name,
            "type": "integer" if name in ("Data", "Secrets", "Count") else "string",
            "format": "name" if name == "Name" else "",
            "description": name,
            "priority": int(name in self.wide),
        }


def table(
    kind: str, objects: Sequence[Json], metadata: Json, *, now: float, include: str, version: str
) -> Json:
    """``include`` says what comes with each row: Metadata, Object or None."""
    columns = COLUMNS.get(kind, _PLAIN)
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": columns.definitions(),
        "rows": [
            {"cells": columns.cells(obj, now), "object": _included(obj, include, version)}
            for obj in objects
        ],
    }


def _included(obj: Json, include: str, version: str) -> Json | None:
    if include in ("", "Metadata"):
        return metadata_only(obj, version)
    if include not in ("Object", "None"):
        raise bad_request(f"unrecognized includeObject value: {include!r:.40}")
    return obj if include == "Object" else None


def metadata_only(obj: Json, version: str) -> Json:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj["metadata"],
    }


def _name(obj: Json) -> str:
    return str(obj["metadata"]["name"])


def _since(text: str | None, now: float) -> str:
    return age_text(now - parse_time(text)) if text else "<unknown>"


def _age(obj: Json, now: float) -> str:
    return _since(obj["metadata"].get("creationTimestamp"), now)


def _pod(pod: Json, now: float) -> list[Any]:
    ready, status, restarts = pod_columns(pod, now=now)
    spec, seen = pod["spec"], pod.get("status") or {}
    addresses = seen.get("podIPs") or [{}]
    address = addresses[0].get("ip") or seen.get("podIP")
    return [
        *(_name(pod), ready, status, restarts, _age(pod, now)),
        *(address or "<none>", spec.get("nodeName") or "<none>"),
        *(seen.get("nominatedNodeName") or "<none>", readiness_gates(pod)),
    ]


def _node(node: Json, now: float) -> list[Any]:
    status = node.get("status") or {}
    info = status.get("nodeInfo") or {}
    listed = reversed(status.get("addresses") or [])
    addresses = {part.get("type"): part.get("address") for part in listed}  # the first wins
    return [
        *(_name(node), _node_status(node), _roles(node), _age(node, now)),
        info.get("kubeletVersion", ""),
        *(addresses.get("InternalIP", "<none>"), addresses.get("ExternalIP", "<none>")),
        *(info.get("osImage") or "<unknown>", info.get("kernelVersion") or "<unknown>"),
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _node_status(node: Json) -> str:
    conditions = (node.get("status") or {}).get("conditions") or []
    ready = [part.get("status") for part in conditions if part.get("type") == "Ready"]
    states = [("Ready" if ready[0] == "True" else "NotReady") if ready else "Unknown"]
    if (node.get("spec") or {}).get("unschedulable"):
        states.append("SchedulingDisabled")
    return ",".join(states)


def _roles(node: Json) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    roles = {key.removeprefix(prefix) for key in labels if key.startswith(prefix)}
    roles |= {value for key, value in labels.items() if key == "kubernetes.io/role" and value}
    return ",".join(sorted(roles - {""})) or "<none>"


def _event(event: Json, now: float) -> list[Any]:
    about = event.get("involvedObject") or event.get("regarding") or {}
    source = event.get("source") or event.get("deprecatedSource") or {}
    series = event.get("series") or {}
    at = event.get("eventTime")
    first = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp") or at
    last = event.get("lastTimestamp") or event.get("deprecatedLastTimestamp") or at
    count = event.get("count") or event.get("deprecatedCount") or 1
    kind, name = str(about.get("kind", "")).lower(), about.get("name", "")
    component = source.get("component") or event.get("reportingComponent", "")
    return [
        _since(series.get("lastObservedTime") or last, now),
        *(event.get("type", ""), event.get("reason", "")),
        f"{kind}/{name}" if name else kind,
        about.get("fieldPath", ""),
        ", ".join(part for part in (component, source.get("host", "")) if part),
        str(event.get("message") or event.get("note") or "").strip(),
        *(_since(first, now), series.get("count", count), _name(event)),
    ]


def _service(service: Json, now: float) -> list[Any]:
    spec = service.get("spec") or {}
    ports = [f"{port.get('port')}/{port.get('protocol')}" for port in spec.get("ports") or []]
    selector = [f"{key}={value}" for key, value in (spec.get("selector") or {}).items()]
    return [
        *(_name(service), spec.get("type", ""), spec.get("clusterIP") or "<none>", "<none>"),
        *(",".join(ports) or "<none>", _age(service, now), ",".join(selector) or "<none>"),
    ]


def _endpoints(endpoints: Json, now: float) -> list[Any]:
    pairs = [
        f"{address.get('ip')}:{port.get('port')}"
        for subset in endpoints.get("subsets") or []
        for address in subset.get("addresses") or []
        for port in subset.get("ports") or []
    ]
    return [_name(endpoints), ",".join(pairs) or "<none>", _age(endpoints, now)]


def _volume(volume: Json, now: float) -> list[Any]:
    spec, status = volume.get("spec") or {}, volume.get("status") or {}
    claim = spec.get("claimRef") or {}
    return [
        _name(volume),
        (spec.get("capacity") or {}).get("storage", ""),
        _modes(spec),
        spec.get("persistentVolumeReclaimPolicy", ""),
        status.get("phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        *(spec.get("storageClassName", ""), status.get("reason", ""), _age(volume, now)),
    ]


def _claim(claim: Json, now: float) -> list[Any]:
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    return [
        *(_name(claim), status.get("phase", ""), spec.get("volumeName", "")),
        (status.get("capacity") or {}).get("storage", ""),
        *(_modes(spec), spec.get("storageClassName", ""), _age(claim, now)),
    ]


def _modes(spec: Json) -> str:
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX"}
    return ",".join(short.get(mode, mode) for mode in spec.get("accessModes") or [])


def _entries(obj: Json) -> int:
    return len(obj.get("data") or {}) + len(obj.get("binaryData") or {})


def _simple(*middle: tuple[str, Callable[[Json], Any]]) -> Columns:
    """Name, the given columns, age."""

    def cells(obj: Json, now: float) -> list[Any]:
        return [_name(obj), *(value(obj) for _, value in middle), _age(obj, now)]

    return Columns(("Name", *(name for name, _ in middle), "Age"), cells)


def _phase(obj: Json) -> Any:
    return (obj.get("status") or {}).get("phase", "")


_PLAIN = Columns(
    ("Name", "Created At"), lambda obj, _: [_name(obj), obj["metadata"].get("creationTimestamp")]
)
_POD_WIDE = ("IP", "Node", "Nominated Node", "Readiness Gates")
_NODE_WIDE = ("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime")
_EVENT_NAMES = (
    *("Last Seen", "Type", "Reason", "Object", "Subobject", "Source", "Message"),
    *("First Seen", "Count", "Name"),
)
COLUMNS: Mapping[str, Columns] = {
    "Pod": Columns(
        ("Name", "Ready", "Status", "Restarts", "Age", *_POD_WIDE), _pod, frozenset(_POD_WIDE)
    ),
    "Node": Columns(
        ("Name", "Status", "Roles", "Age", "Version", *_NODE_WIDE), _node, frozenset(_NODE_WIDE)
    ),
    "Event": Columns(
        _EVENT_NAMES, _event, frozenset({"Subobject", "Source", "First Seen", "Count", "Name"})
    ),
    "ConfigMap": _simple(("Data", _entries)),
    "Secret": _simple(("Type", lambda obj: obj.get("type", "")), ("Data", _entries)),
    "Namespace": _simple(("Status", _phase)),
    "Lease": _simple(("Holder", lambda obj: (obj.get("spec") or {}).get("holderIdentity", ""))),
    "ServiceAccount": _simple(("Secrets", lambda obj: len(obj.get("secrets") or []))),
    "Service": Columns(
        ("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"),
        _service,
        frozenset({"Selector"}),
    ),
    "Endpoints": Columns(("Name", "Endpoints", "Age"), _endpoints),
    "PersistentVolume": Columns(
        (
            *("Name", "Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim"),
            *("StorageClass", "Reason", "Age"),
        ),
        _volume,
    ),
    "PersistentVolumeClaim": Columns(
        ("Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass", "Age"), _claim
    ),
}
