"""What a managed node's Node object should say, and the least writes that make it so. Pure.

A device's report is hostile: ``accepted`` keeps only known fields of sane size and form. While a
node is away only its Ready condition is ours to write: Kubernetes' own node controller marks the
others, and neither side may undo the other. Called by ``nodes.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from cloudhub.nodes.presence import Standing
from cloudhub.nodes.taints import judged_by
from shared.objects import Json

MANAGED = "kubetide.io/managed"
EDGE_ROLE = "node-role.kubernetes.io/edge"
VERSION_ANNOTATION = "kubetide.io/agent-version"
VERSION_MARK = "kubetide"
"""Part of the kubelet version of every node of ours; a node without it has a kubelet."""

INFO_FIELDS = (
    *("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "operatingSystem"),
    *("architecture", "containerRuntimeVersion", "kubeletVersion", "kubeProxyVersion"),
)
ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")
MOST_IMAGES = 50
FEATURES = ("supplementalGroupsPolicy",)
BY_ABILITY = ("features", "runtimeHandlers", "declaredFeatures")
"""Parts that are wholly the agent's: what a newer or older one no longer says is taken away."""
HANDLER_FEATURES = ("recursiveReadOnlyMounts", "userNamespaces")
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?)(m|k|[KMGTPE]i|[MGTPE])?")
_SUFFIX = {"m": Decimal("0.001"), "": Decimal(1), "k": Decimal(1000)}
_SUFFIX |= {letter: Decimal(1000) ** power for power, letter in enumerate("MGTPE", 2)}
_SUFFIX |= {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)}
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_FEATURE = re.compile(r"[A-Z][A-Za-z0-9]*(/[A-Z][A-Za-z0-9]*)*")
_WORD = re.compile(r"[A-Za-z]([A-Za-z0-9_,:./-]{0,253}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Ready:
    status: str
    reason: str
    message: str


# -- the report, at the door


def accepted(report: Json) -> Json:
    """The parts of a Node report that may be written to the API; the rest is left out."""
    checks: Mapping[str, Callable[[Any], Any]] = {
        "capacity": _amounts,
        "allocatable": _amounts,
        "addresses": _addresses,
        "nodeInfo": _info,
        "images": _images,
        "conditions": _conditions,
        "features": lambda value: _flags(value, FEATURES),
        "runtimeHandlers": _handlers,
        "declaredFeatures": _declared,
    }
    parts = {name: check(report.get(name)) for name, check in checks.items()}
    return {name: part for name, part in parts.items() if part}


def _amounts(value: Any) -> Json:
    rows = value.items() if isinstance(value, dict) and len(value) <= 64 else ()
    return {
        key: amount
        for key, amount in rows
        if isinstance(key, str) and _WORD.fullmatch(key) and quantity(amount) is not None
    }


def _addresses(value: Any) -> list[Json]:
    return [
        {"type": row["type"], "address": row["address"]}
        for row in _rows(value, 16)
        if row.get("type") in ADDRESS_TYPES and _text(row.get("address"), 253)
    ]


def _info(value: Any) -> Json:
    found = value if isinstance(value, dict) else {}
    info = {name: found[name] for name in INFO_FIELDS if _text(found.get(name), 256)}
    if info and VERSION_MARK not in info.get("kubeletVersion", ""):
        info["kubeletVersion"] = f"{VERSION_MARK}-{info.get('kubeletVersion', 'unknown')}"
    return info


def _images(value: Any) -> list[Json]:
    images = []
    for row in _rows(value, 10_000)[:MOST_IMAGES]:
        listed = row.get("names")
        named = listed if isinstance(listed, list) else ()
        names = [name for name in named if _text(name, 512)][:5]
        if names and type(row.get("sizeBytes")) is int and 0 <= row["sizeBytes"] < 2**60:
            images.append({"names": names, "sizeBytes": row["sizeBytes"]})
    return images


def _flags(value: Any, names: tuple[str, ...]) -> Json:
    found = value if isinstance(value, dict) else {}
    return {name: found[name] for name in names if isinstance(found.get(name), bool)}


def _handlers(value: Any) -> list[Json]:
    return [
        {"name": row["name"], "features": _flags(row.get("features"), HANDLER_FEATURES)}
        for row in _rows(value, 64)
        if row.get("name") == "" or _text(row.get("name"), 253)
    ]


def _declared(value: Any) -> list[str]:
    """Sorted and each once, as the API wants them."""
    names = value if isinstance(value, list) and len(value) <= 64 else ()
    return sorted({name for name in names if _text(name, 253) and _FEATURE.fullmatch(name)})


def _conditions(value: Any) -> list[Json]:
    return [
        {
            "type": row["type"],
            "status": row["status"],
            "reason": row["reason"] if _word(row.get("reason")) else "Reported",
            "message": row["message"][:1024] if isinstance(row.get("message"), str) else "",
        }
        for row in _rows(value, 16)
        if _word(row.get("type")) and row.get("status") in ("True", "False", "Unknown")
    ]


def _rows(value: Any, most: int) -> list[Json]:
    if not isinstance(value, list) or len(value) > most:
        return []
    return [row for row in value if isinstance(row, dict)]


def _text(value: Any, most: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most


def _word(value: Any) -> bool:
    return isinstance(value, str) and bool(_WORD.fullmatch(value))


def quantity(value: Any) -> Decimal | None:
    """``"500m"`` → 0.5; None for what is no quantity. The API server rewrites equal ones."""
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) and len(value) < 40 else None
    try:
        return Decimal(found[1]) * _SUFFIX[found[2] or ""] if found else None
    except InvalidOperation:
        return None


# -- what the Node should say


def labels_of(name: str, report: Json) -> dict[str, str]:
    info = report.get("nodeInfo", {})
    labels = {
        MANAGED: "true",
        EDGE_ROLE: "",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": info.get("operatingSystem", ""),
        "kubernetes.io/arch": info.get("architecture", ""),
    }
    always = (MANAGED, EDGE_ROLE)
    return {key: v for key, v in labels.items() if key in always or _LABEL_VALUE.fullmatch(v)}


def new_node(name: str, report: Json, taints: tuple[Json, ...]) -> Json:
    """As it is created; its status follows in the first patch. Taints are set only here."""
    metadata = {"name": name, "labels": labels_of(name, report)}
    spec = {"taints": list(taints)} if taints else {}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}


def is_foreign(node: Json) -> bool:
    """Whether somebody else's kubelet runs this node."""
    metadata, info = node["metadata"], node.get("status", {}).get("nodeInfo") or {}
    version = info.get("kubeletVersion") or ""
    ours = MANAGED in (metadata.get("labels") or {})
    return not ours and bool(version) and VERSION_MARK not in version


_DOWN = "the device was shut down"


def ready_of(standing: Standing, report: Json, current: Json, now: str) -> Ready | None:
    """The Ready condition; None while it should stay as it is."""
    if standing is Standing.IN_DOUBT:
        return None
    if standing is Standing.ONLINE:
        return _ready_online(report, current)
    since = now
    before = _by_type(current).get("Ready", {})
    if before.get("status") == "Unknown":
        since = before.get("lastTransitionTime") or now
    if standing is Standing.OFFLINE:
        left = _DOWN if _was_shut_down(before) else "its pods go on"
        text = f"the agent's connection to the broker ended, known since {since}; {left}"
        return Ready("Unknown", "AgentDisconnected", text)
    text = f"the broker knows no connection of this agent, noticed {since}"
    return Ready("Unknown", "AgentSilent", text)


def _was_shut_down(ready: Json) -> bool:
    """What the agent said last, or what was made of it then."""
    message = ready.get("message") or ""
    return message == "node is shutting down" or message.endswith(_DOWN)


def _ready_online(report: Json, current: Json) -> Ready:
    said = _by_type(report).get("Ready")
    if said is not None and said["status"] != "True":
        return Ready("False", said["reason"], said["message"])
    if not report and not current.get("capacity"):
        text = "the agent is connected and has not yet said what the device has"
        return Ready("False", "AwaitingReport", text)
    return Ready("True", "AgentConnected", "the agent is connected to the broker")


def _by_type(status: Json) -> dict[str, Json]:
    return {row["type"]: row for row in status.get("conditions") or ()}


# -- the least writes


def metadata_patch(current: Json, labels: Mapping[str, str], version: str) -> Json | None:
    """A merge patch for labels and annotations, or None when nothing differs."""
    notes = {VERSION_ANNOTATION: version} if version else {}
    patch = {}
    for part, wanted in (("labels", labels), ("annotations", notes)):
        before = current["metadata"].get(part) or {}
        if changed := {key: v for key, v in wanted.items() if before.get(key) != v}:
            patch[part] = changed
    return {"metadata": patch} if patch else None


def status_patch(current: Json, report: Json, ready: Ready | None, *, now: str) -> Json | None:
    """A strategic patch for the status, or None; ``report`` is empty while the node is away."""
    patch: Json = {}
    for part, amounts in _amounts_of(current, report).items():
        if rows := _changed(current.get(part) or {}, amounts, quantity):
            patch[part] = rows
    if "nodeInfo" in report:
        before = {k: v for k, v in (current.get("nodeInfo") or {}).items() if v}
        if rows := _changed(before, report["nodeInfo"], str):
            patch["nodeInfo"] = rows
    if "addresses" in report and report["addresses"] != (current.get("addresses") or []):
        patch["addresses"] = [*report["addresses"], {"$patch": "replace"}]
    if "images" in report and report["images"] != (current.get("images") or []):
        patch["images"] = report["images"]
    known = report.get("nodeInfo", {}).get("containerRuntimeVersion")
    for part in BY_ABILITY:
        if report.get(part) != current.get(part) and (part in report or known):
            patch[part] = report.get(part)
    if conditions := _changed_conditions(current, report, ready, now):
        patch["conditions"] = conditions
    return {"status": patch} if patch else None


def said_by(name: str, current: Json, patch: Json) -> Iterator[tuple[str, str, str]]:
    """Type, reason and message of the Events that a kubelet writes with such a patch. That a Node
    became Unknown is the word of Kubernetes' node controller."""
    status = patch["status"]
    before = (current.get("nodeInfo") or {}).get("bootID")
    boot = status.get("nodeInfo", {}).get("bootID")
    if before and boot and boot != before:
        yield "Warning", "Rebooted", f"Node {name} has been rebooted, boot id: {boot}"
    now = _by_type(status).get("Ready", {}).get("status")
    was = _by_type(current).get("Ready", {}).get("status")
    if now == "True" != was:
        yield "Normal", "NodeReady", f"Node {name} status is now: NodeReady"
    if now == "False" != was and was:
        yield "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady"


def _amounts_of(current: Json, report: Json) -> Json:
    """What the device has, and the extended resources that somebody else advertises for it: they
    are patched into the capacity alone, and pods can be given all of them."""
    advertised = {k: v for k, v in (current.get("capacity") or {}).items() if "/" in k}
    return {
        part: {**advertised, **report[part]}
        for part in ("capacity", "allocatable")
        if part in report
    }


def _changed(before: Json, after: Json, meaning: Callable[[Any], Any]) -> Json:
    """What a merge must set; what is gone becomes None."""
    gone = dict.fromkeys(key for key in before if key not in after)
    put = {k: v for k, v in after.items() if k not in before or _differ(before[k], v, meaning)}
    return {**put, **gone}


def _differ(one: Any, other: Any, meaning: Callable[[Any], Any]) -> bool:
    """What means nothing here (a quantity such as 1e3) is compared as it is written."""
    meant = meaning(one)
    return bool(one != other and (meant is None or meant != meaning(other)))


def _changed_conditions(current: Json, report: Json, ready: Ready | None, now: str) -> list[Json]:
    wanted = [row for row in report.get("conditions", ()) if row["type"] != "Ready"]
    if ready is not None:
        said = {"status": ready.status, "reason": ready.reason, "message": ready.message}
        wanted.append({"type": "Ready", **said})
    before = _by_type(current)
    rows = []
    for row in wanted:
        old = before.get(row["type"], {})
        if any(old.get(name) != row[name] for name in ("status", "reason", "message")):
            turned = old.get("lastTransitionTime") if old.get("status") == row["status"] else now
            rows.append({**row, "lastHeartbeatTime": now, "lastTransitionTime": turned or now})
    return rows


def kept_of(node: Json) -> Json:
    """The parts of a Node object that are compared with or told: what the hub remembers of it."""
    metadata, status = node["metadata"], node.get("status") or {}
    annotations = metadata.get("annotations") or {}
    parts = (
        *("capacity", "allocatable", "addresses", "nodeInfo", "images", "conditions"),
        *BY_ABILITY,
    )
    return {
        "metadata": {
            "name": metadata["name"],
            "uid": metadata["uid"],
            "labels": metadata.get("labels") or {},
            "annotations": {k: v for k, v in annotations.items() if k == VERSION_ANNOTATION},
        },
        "status": {part: status[part] for part in parts if part in status},
        "taints": judged_by(node),
    }
