"""Objects in the form a client asked for: whole, as table rows, as metadata only. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from devcluster.apiserver.listing import Page
from devcluster.apiserver.negotiation import Accepted, Form, negotiate
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.status import Json
from devcluster.apiserver.tables import metadata_only, table
from devcluster.apiserver.watching import Event


@dataclass(frozen=True, slots=True)
class Answers:
    accepted: Accepted
    include: str
    now: float

    @classmethod
    def asked(cls, accept: str, *, include: str, now: float) -> Answers:
        return cls(negotiate(accept), include, now)

    def one(self, obj: Json, resource: Resource) -> Json:
        if self.accepted.form is Form.TABLE:
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            return self._table(resource, [obj], metadata)
        if self.accepted.form is Form.METADATA:
            return metadata_only(obj, self.accepted.meta_version)
        return obj

    def page(self, page: Page, resource: Resource) -> Json:
        if self.accepted.form is Form.TABLE:
            return self._table(resource, page.items, page.metadata)
        if self.accepted.form is Form.METADATA_LIST:
            version = self.accepted.meta_version
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": f"meta.k8s.io/{version}",
                "metadata": page.metadata,
                "items": [metadata_only(obj, version) for obj in page.items],
            }
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": page.metadata,
            "items": [_list_item(obj) for obj in page.items],
        }

    def events(self, events: Sequence[Event], resource: Resource) -> bytes:
        """One line of JSON per event."""
        lines = (
            {"type": event.kind, "object": self._event_object(event, resource)} for event in events
        )
        return b"".join(
            json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
            for line in lines
        )

    def _event_object(self, event: Event, resource: Resource) -> Json:
        if event.kind == "ERROR":
            return event.obj
        if self.accepted.form is Form.TABLE and event.kind == "BOOKMARK":
            return self._table(resource, [], event.obj["metadata"])
        return self.one(event.obj, resource)

    def _table(self, resource: Resource, objects: Sequence[Json], metadata: Json) -> Json:
        return table(
            resource.kind,
            objects,
            metadata,
            now=self.now,
            include=self.include,
            version=self.accepted.meta_version,
        )


def _list_item(obj: Json) -> Json:
    """The items of a list carry neither kind nor version."""
    return {field: part for field, part in obj.items() if field not in ("kind", "apiVersion")}
