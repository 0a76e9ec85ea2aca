"""What the server says about itself: version, groups, resources, OpenAPI (``openapi``). Pure."""

from __future__ import annotations

from devcluster.apiserver import openapi
from devcluster.apiserver.resources import VERBS, Resource, groups, in_group
from devcluster.apiserver.status import Json

VERSION: Json = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0-kubetide",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
"""The version of the API that is imitated; clients compare the minor number."""


def document(path: str) -> Json | None:
    """The discovery document at ``path``; None where there is none."""
    parts = [part for part in path.split("/") if part]
    match parts:
        case ["version"]:
            return VERSION
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            listed = [_group(group, version) for group, version in groups()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        case ["api", "v1"]:
            return _resource_list("", "v1")
        case ["apis", group]:
            return _one_group(group)
        case ["apis", group, version] if (group, version) in groups():
            return _resource_list(group, version)
        case ["openapi", "v3", *rest]:
            return openapi.document("/".join(rest))
        case _:
            return None


def _group(group: str, version: str) -> Json:
    served = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [served], "preferredVersion": served}


def _one_group(group: str) -> Json | None:
    for name, version in groups():
        if name == group:
            return {"kind": "APIGroup", "apiVersion": "v1"} | _group(name, version)
    return None


def _resource_list(group: str, version: str) -> Json:
    listed: list[Json] = []
    for resource in in_group(group, version):
        listed.append(_resource(resource))
        listed += _subresources(resource)
    group_version = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": listed,
    }


def _resource(resource: Resource) -> Json:
    described: Json = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(VERBS),
    }
    if resource.short_names:
        described["shortNames"] = list(resource.short_names)
    if resource.categories:
        described["categories"] = list(resource.categories)
    return described


def _subresources(resource: Resource) -> list[Json]:
    return [
        {
            "name": f"{resource.plural}/{sub.name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": sub.kind,
            "verbs": list(sub.verbs),
        }
        | ({"group": sub.group, "version": sub.version} if sub.group else {})
        for sub in resource.subresources
    ]
