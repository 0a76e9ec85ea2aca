"""Addresses of Services: given at creation, kept by updates, never changed. Pure.

Nothing here listens on them; a pod sees them in its variables and on a Service, as in any cluster.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from devcluster.apiserver.status import Cause, Json, invalid_value

NETWORK = ipaddress.ip_network("10.96.0.0/16")
API_ADDRESS = str(NETWORK[1])
"""Of the API server itself, on every cluster the first one."""
_WITHOUT = "ExternalName"


def assign(service: Json, others: Iterable[Json]) -> None:
    """Give a new Service the first free address, unless it wants none or names its own."""
    spec = service["spec"]
    if spec.get("type") == _WITHOUT:
        return
    if not spec.get("clusterIP"):
        taken = {API_ADDRESS, *(one["spec"].get("clusterIP") for one in others)}
        spec["clusterIP"] = next(ip for ip in map(str, NETWORK.hosts()) if ip not in taken)
    spec.setdefault("clusterIPs", [spec["clusterIP"]])


def keep(new: Json, old: Json) -> None:
    """Who writes a Service need not know its address."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    if _WITHOUT in (before.get("type"), after.get("type")):
        return
    for field in ("clusterIP", "clusterIPs"):
        if field in before and not after.get(field):
            after[field] = before[field]


def changed(new: Json, old: Json) -> Iterator[Cause]:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    kept, wanted = before.get("clusterIP"), after.get("clusterIP")
    without = _WITHOUT in (before.get("type"), after.get("type"))
    if kept and wanted != kept and not without:
        yield invalid_value("spec.clusterIPs[0]", wanted, "may not change once set")


def api_service() -> Json:
    ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {"clusterIP": API_ADDRESS, "ports": ports},
    }
