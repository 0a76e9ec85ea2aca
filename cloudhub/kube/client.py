"""The real ``Kube`` port: raw JSON over HTTP, a bounded number of requests at a time.

Owns the verbs and their form in HTTP; failures are translated in ``refusals.py``, the endless
watch is in ``watching.py``. Called by whoever got the port from ``app.py``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from cloudhub.kube.access import Access
from cloudhub.kube.port import PatchType, Resource, WatchEvent
from cloudhub.kube.refusals import Request
from cloudhub.kube.transport import Call, Counter, Transport
from cloudhub.kube.watching import Query, Watching
from shared.clock import Clock
from shared.errors import KubeRefused
from shared.objects import Json

CONCURRENT = 32
"""Requests under way at once; watches do not count."""

METADATA = "application/json;as={};g=meta.k8s.io;v=v1,application/json"
PATCH_TYPES: Mapping[PatchType, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


class KubeClient:
    """One API server; see ``cloudhub.kube.port.Kube``."""

    def __init__(
        self, access: Access, *, clock: Clock, rng: random.Random, count: Counter = lambda *_: None
    ) -> None:
        self._transport = Transport(access, count=count)
        self._clock = clock
        self._rng = rng
        self._turns = asyncio.Semaphore(CONCURRENT)

    def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        query = Query(resource, namespace, label_selector, field_selector, metadata_only)
        return self._watching(query).forever()

    async def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        try:
            return await self._call("GET", Request("get", resource, namespace, name))
        except KubeRefused as refused:
            if refused.status != 404:
                raise
            return None

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[Json]:
        query = Query(resource, namespace, label_selector, field_selector)
        objects, _ = await self._watching(query).list_all()
        return [*objects]

    async def create(
        self, resource: Resource, namespace: str, obj: Json, *, subresource: str = ""
    ) -> Json:
        name = obj["metadata"]["name"] if subresource else ""
        request = Request("create", resource, namespace, name, subresource)
        return await self._call("POST", request, body=obj)

    async def replace(self, resource: Resource, namespace: str, obj: Json) -> Json:
        request = Request("update", resource, namespace, obj["metadata"]["name"])
        return await self._call("PUT", request, body=obj)

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Json,
        *,
        subresource: str = "",
        patch_type: PatchType = "merge",
    ) -> Json:
        request = Request("patch", resource, namespace, name, subresource)
        return await self._call("PATCH", request, body=patch, content_type=PATCH_TYPES[patch_type])

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, grace: int
    ) -> None:
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": grace,
            "preconditions": {"uid": uid},
        }
        try:
            await self._call("DELETE", Request("delete", resource, namespace, name), body=options)
        except KubeRefused as refused:
            if refused.status not in (404, 409):
                raise

    async def close(self) -> None:
        await self._transport.close()

    async def page(self, query: Query, parameters: Mapping[str, str]) -> Json:
        """One page of a list, as it came; for ``watching``."""
        request = Request("list", query.resource, query.namespace)
        accept = METADATA.format("PartialObjectMetadataList") if query.metadata_only else None
        return await self._call("GET", request, parameters=parameters, accept=accept)

    def lines(
        self, query: Query, parameters: Mapping[str, str], *, silence: float
    ) -> AsyncGenerator[bytes, None]:
        """The lines of one watch request, to its end; for ``watching``."""
        request = Request("watch", query.resource, query.namespace)
        accept = METADATA.format("PartialObjectMetadata") if query.metadata_only else ""
        call = Call("GET", request, parameters=parameters, accept=accept or "application/json")
        return self._transport.lines(call, silence=silence)

    def _watching(self, query: Query) -> Watching:
        return Watching(self, query, clock=self._clock, rng=self._rng)

    async def _call(
        self,
        method: str,
        request: Request,
        *,
        body: Json | None = None,
        content_type: str = "application/json",
        parameters: Mapping[str, str] | None = None,
        accept: str | None = None,
    ) -> Json:
        call = Call(
            *(method, request, body, content_type),
            accept=accept or "application/json",
            parameters=parameters or {},
        )
        async with self._turns:
            return await self._transport.answer(call)
