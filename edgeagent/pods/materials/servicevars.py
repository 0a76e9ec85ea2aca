"""The variables by which a container finds Services: as a kubelet makes them of those that exist.

Pure. Of every Service of the pod's namespace (unless ``enableServiceLinks`` is false) and always of
the API's own, ``default/kubernetes``. The hub sends only Services with a cluster IP, and of them
address and ports. What it sends is checked where it is read: a Service that is none is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from edgeagent.pods.materials.sources import Sources
from edgeagent.pods.model import specs
from shared.objects import Json

API_NAMESPACE, API_NAME = "default", "kubernetes"
_NAME = re.compile(r"[A-Z0-9_]+")
_ADDRESS = re.compile(r"[0-9a-fA-F.:]+")
_PROTOCOLS = ("TCP", "UDP", "SCTP")


def wants_links(pod: Json) -> bool:
    return pod["spec"].get("enableServiceLinks") is not False


def service_variables(pod: Json, sources: Sources) -> dict[str, str]:
    found: dict[str, Json] = {}
    api = sources.services(API_NAMESPACE).get(API_NAME)
    if api is not None:
        found[API_NAME] = api
    if wants_links(pod):
        found.update(sources.services(specs.namespace_of(pod)))
    variables: dict[str, str] = {}
    for name, service in sorted(found.items()):
        variables.update(_of_one(name, service))
    return variables


def are_awaited(pod: Json, sources: Sources) -> bool:
    """Whether a Service is listed for this node of which nothing has come yet."""
    linked = wants_links(pod) and bool(sources.awaited_services(specs.namespace_of(pod)))
    return linked or API_NAME in sources.awaited_services(API_NAMESPACE)


def _of_one(name: str, service: Json) -> Iterator[tuple[str, str]]:
    spec = service.get("spec")
    if not isinstance(spec, dict):
        return
    address, prefix = spec.get("clusterIP"), _upper(name)
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        return
    listed = spec.get("ports")
    ports = [port for port in listed if _is_port(port)] if isinstance(listed, list) else []
    yield f"{prefix}_SERVICE_HOST", address
    if not ports:
        return
    yield f"{prefix}_SERVICE_PORT", str(ports[0]["port"])
    for port in ports:
        if label := _upper(str(port.get("name") or "")):
            yield f"{prefix}_SERVICE_PORT_{label}", str(port["port"])
    yield f"{prefix}_PORT", _url(address, ports[0])
    for port in ports:
        yield from _link(prefix, address, port)


def _link(prefix: str, address: str, port: Json) -> Iterator[tuple[str, str]]:
    """As Docker's old links had them."""
    base = f"{prefix}_PORT_{port['port']}_{_protocol(port)}"
    yield base, _url(address, port)
    yield f"{base}_PROTO", _protocol(port).lower()
    yield f"{base}_PORT", str(port["port"])
    yield f"{base}_ADDR", address


def _url(address: str, port: Json) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{_protocol(port).lower()}://{host}:{port['port']}"


def _protocol(port: Json) -> str:
    return str(port.get("protocol") or "TCP")


def _is_port(port: Any) -> bool:
    return (
        isinstance(port, dict)
        and type(port.get("port")) is int
        and _protocol(port) in _PROTOCOLS
        and (not port.get("name") or bool(_NAME.fullmatch(_upper(str(port["name"])))))
    )


def _upper(name: str) -> str:
    return name.replace("-", "_").upper()
