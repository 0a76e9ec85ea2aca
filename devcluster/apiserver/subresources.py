"""POST on a sub-resource: bind a pod, evict a pod, ask for a token of a service account."""

from __future__ import annotations

from typing import Any

from devcluster.apiserver.access import Access
from devcluster.apiserver.decoding import prune
from devcluster.apiserver.deleting import DeleteOptions
from devcluster.apiserver.objects import Objects, Target
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.stamps import time_text
from devcluster.apiserver.status import (
    Json,
    bad_request,
    conflict,
    invalid,
    method_not_allowed,
    required,
)
from devcluster.apiserver.urls import Place

_TOKEN_SECONDS = 3600


def target_of(resource: Resource, obj: Json) -> Target:
    metadata = obj["metadata"]
    return Target(resource, metadata.get("namespace", ""), metadata["name"])


def create(objects: Objects, access: Access, place: Place, body: Any) -> Json:
    if not isinstance(body, dict):
        raise bad_request("a JSON object is expected")
    if place.subresource == "binding":
        return _bind(objects, place, body)
    if place.subresource == "eviction":
        return _evict(objects, place, body)
    if place.subresource == "token":
        return _token(objects, access, place, body)
    raise method_not_allowed()


def _success() -> Json:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "code": 201,
    }


def _bind(objects: Objects, place: Place, body: Json) -> Json:
    binding = prune("V1Binding", body, kind="Binding", version="v1").obj
    node = binding.get("target", {}).get("name")
    if not node:
        raise invalid("", "Binding", place.name, causes=[required("target.name")])
    bind(objects, Target(place.resource, place.namespace, place.name), node)
    return _success()


def bind(objects: Objects, target: Target, node: str) -> None:
    """Give the pod its node, once, and say so in its conditions."""
    pod = objects.get(target)
    why = ""
    if pod["metadata"].get("deletionTimestamp"):
        why = f"pod {target.name} is being deleted, cannot be assigned to a host"
    elif pod["spec"].get("nodeName"):
        why = f"pod {target.name} is already assigned to node {pod['spec']['nodeName']!r}"
    if why:
        raise conflict("", "pods", target.name, why=why)
    scheduled = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": time_text(objects.clock.now()),
    }
    objects.rewrite(
        target,
        {
            **pod,
            "spec": {**pod["spec"], "nodeName": node},
            "status": {**pod["status"], "conditions": conditions_with(pod, scheduled)},
        },
    )


def conditions_with(pod: Json, condition: Json) -> list[Json]:
    """The pod's conditions with ``condition`` in place of the one of its type."""
    others = pod.get("status", {}).get("conditions") or []
    return [part for part in others if part.get("type") != condition["type"]] + [condition]


def _evict(objects: Objects, place: Place, body: Json) -> Json:
    options = body.get("deleteOptions") or {}
    if not isinstance(options, dict):
        raise bad_request("deleteOptions must be an object")
    target = Target(place.resource, place.namespace, place.name)
    objects.delete(target, DeleteOptions.from_json(options))
    return _success()


def _token(objects: Objects, access: Access, place: Place, body: Json) -> Json:
    request = prune("AuthenticationV1TokenRequest", body, kind="TokenRequest", version="v1").obj
    account = objects.get(Target(place.resource, place.namespace, place.name))
    spec = request.get("spec") or {}
    seconds = spec.get("expirationSeconds") or _TOKEN_SECONDS
    now = objects.clock.now()
    bound = spec.get("boundObjectRef") or {}
    about: Json = {
        "namespace": place.namespace,
        "serviceaccount": {"name": place.name, "uid": account["metadata"]["uid"]},
    }
    if bound.get("kind"):
        about[bound["kind"].lower()] = {key: bound[key] for key in ("name", "uid") if key in bound}
    claims = {
        "aud": spec.get("audiences") or ["https://kubernetes.default.svc"],
        "sub": f"system:serviceaccount:{place.namespace}:{place.name}",
        "kubernetes.io": about,
    }
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": place.name, "namespace": place.namespace},
        "spec": {"audiences": claims["aud"], "expirationSeconds": seconds} | spec,
        "status": {
            "token": access.account_token(claims, seconds=seconds, now=now),
            "expirationTimestamp": time_text(now + seconds),
        },
    }
