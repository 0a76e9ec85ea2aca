"""OpenAPI v3 documents, one per group: the fields of each kind and how its lists merge. Pure.

``kubectl`` reads them before it applies (does the server validate fields? which lists are keyed?)
and for ``kubectl explain``, which finds names and types here but no prose.
"""

from __future__ import annotations

from functools import cache

from devcluster.apiserver import schema
from devcluster.apiserver.patching import APPLY, JSON_PATCH, MERGE, STRATEGIC
from devcluster.apiserver.resources import Resource, groups, in_group
from devcluster.apiserver.status import Json

_SCALARS: dict[str, Json] = {
    "str": {"type": "string"},
    "int": {"type": "integer", "format": "int64"},
    "bool": {"type": "boolean"},
    "float": {"type": "number"},
    "datetime": {"type": "string", "format": "date-time"},
    "bytes": {"type": "string", "format": "byte"},
    "object": {},
}


@cache
def document(path: str) -> Json | None:
    """The index for an empty path, else the document of ``api/v1`` or ``apis/group/version``."""
    paths = {"api/v1": ("", "v1")} | {f"apis/{g}/{v}": (g, v) for g, v in groups()}
    if not path:
        return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}"} for name in paths}}
    if path not in paths:
        return None
    served = list(in_group(*paths[path]))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.32.0"},
        "paths": {_path(resource): _operations(resource) for resource in served},
        "components": {"schemas": _schemas(served)},
    }


def _path(resource: Resource) -> str:
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
    namespace = "/namespaces/{namespace}" if resource.namespaced else ""
    return f"{root}{namespace}/{resource.plural}/{{name}}"


def _identity(resource: Resource) -> Json:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _operations(resource: Resource) -> Json:
    validation = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    body = {"schema": _reference(resource.model)}
    answers = {"200": {"description": "OK", "content": {"application/json": body}}}
    common: Json = {
        "parameters": [validation],
        "responses": answers,
        "x-kubernetes-group-version-kind": _identity(resource),
    }
    patches: Json = {media: {"schema": {}} for media in (JSON_PATCH, MERGE, STRATEGIC, APPLY)}
    return {
        "get": common,
        "patch": common | {"requestBody": {"content": patches}},
        "put": common | {"requestBody": {"content": {"application/json": body}}},
    }


def _schemas(served: list[Resource]) -> Json:
    """Every model that the served kinds reach, by name."""
    schemas: Json = {}
    due = [resource.model for resource in served]
    while due:
        model = due.pop()
        if model not in schemas:
            schemas[model] = _schema(model)
            due += _models_in(model)
    for resource in served:
        identities = schemas[resource.model].setdefault("x-kubernetes-group-version-kind", [])
        identities.append(_identity(resource))
    return schemas


def _models_in(model: str) -> list[str]:
    kinds = schema.fields_of(model).values()
    inner = (schema.item_type(kind) or schema.value_type(kind) or kind for kind in kinds)
    return [kind for kind in inner if schema.is_model(kind)]


def _schema(model: str) -> Json:
    fields = schema.fields_of(model)
    return {
        "type": "object",
        "properties": {field: _field(model, field, kind) for field, kind in fields.items()},
    }


def _field(model: str, field: str, kind: str) -> Json:
    described = _type(kind)
    if key := schema.MERGE_KEYS.get((model, field)):
        strategy = "merge,retainKeys" if (model, field) == ("V1PodSpec", "volumes") else "merge"
        described |= {"x-kubernetes-patch-merge-key": key, "x-kubernetes-patch-strategy": strategy}
    elif (model, field) in schema.MERGED_PRIMITIVES:
        described |= {"x-kubernetes-patch-strategy": "merge"}
    return described


def _type(kind: str) -> Json:
    if element := schema.item_type(kind):
        return {"type": "array", "items": _type(element)}
    if element := schema.value_type(kind):
        return {"type": "object", "additionalProperties": _type(element)}
    if schema.is_model(kind):
        return {"allOf": [_reference(kind)]}
    return dict(_SCALARS[kind])


def _reference(model: str) -> Json:
    return {"$ref": f"#/components/schemas/{model}"}
