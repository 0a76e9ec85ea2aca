"""A bare HTTP client of the Kubernetes API: what a test wants to see is the answer itself."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.parts.kubernetes import Cluster

Json = dict[str, Any]
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Answer:
    code: int
    body: Any
    headers: Any

    def __getitem__(self, name: str) -> Any:
        return self.body[name]

    @property
    def metadata(self) -> Json:
        return dict(self.body["metadata"])

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.body["items"]]

    @property
    def refusal(self) -> tuple[int, str]:
        """Code and reason; the body must be a proper Status."""
        assert self.body["kind"] == "Status" and self.body["apiVersion"] == "v1", self.body
        assert self.body["status"] == "Failure" and self.body["code"] == self.code
        return self.code, self.body.get("reason", "")


class Api:
    """Paths without a leading slash are below the test's own namespace of ``v1``."""

    def __init__(self, cluster: Cluster, session: aiohttp.ClientSession, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._session = session

    async def get(self, path: str, *, accept: str = "application/json", **query: str) -> Answer:
        return await self.send("GET", path, query=query, headers={"Accept": accept})

    async def post(self, path: str, body: Any, **query: str) -> Answer:
        return await self.send("POST", path, body=body, query=query)

    async def put(self, path: str, body: Any, **query: str) -> Answer:
        return await self.send("PUT", path, body=body, query=query)

    async def patch(self, path: str, body: Any, *, media: str = MERGE, **query: str) -> Answer:
        return await self.send(
            "PATCH", path, body=body, query=query, headers={"Content-Type": media}
        )

    async def delete(self, path: str, body: Any = None, **query: str) -> Answer:
        return await self.send("DELETE", path, body=body, query=query)

    async def created(self, path: str, body: Json) -> Json:
        """Create, and insist that it worked."""
        answer = await self.post(path, body)
        assert answer.code == 201, answer.body
        return dict(answer.body)

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        data = None if body is None else io.BytesIO(_bytes(body))
        given = {"Content-Type": "application/json"} | (headers or {})
        async with self._session.request(
            method, self.url(path), data=data, params=query or {}, headers=given
        ) as response:
            raw = await response.read()
            is_json = response.content_type == "application/json"
            value = json.loads(raw) if is_json else raw.decode()
            return Answer(response.status, value, response.headers)

    def url(self, path: str) -> str:
        if path.startswith("/"):
            return self.cluster.url + path
        return f"{self.cluster.url}/api/v1/namespaces/{self.namespace}/{path}"

    @asynccontextmanager
    async def watch(
        self, path: str, *, accept: str = "application/json", **query: str
    ) -> AsyncIterator[Events]:
        async with self._session.get(
            self.url(path), params={"watch": "1"} | query, headers={"Accept": accept}
        ) as response:
            assert response.status == 200, await response.text()
            yield Events(response)


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


class Events:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self, within: float = 10) -> tuple[str, Json]:
        """Type and object of the next event."""
        async with asyncio.timeout(within):
            line = await self._response.content.readline()
        assert line, "the watch ended"
        event = json.loads(line)
        return event["type"], event["object"]

    async def take(self, count: int) -> list[tuple[str, str]]:
        """Type and name of the next events."""
        events = [await self.next() for _ in range(count)]
        return [(kind, obj["metadata"].get("name", "")) for kind, obj in events]

    async def rest(self, within: float = 10) -> list[tuple[str, Json]]:
        """Everything up to the end of the watch."""
        async with asyncio.timeout(within):
            lines = (await self._response.read()).splitlines()
        events = [json.loads(line) for line in lines]
        return [(event["type"], event["object"]) for event in events]


def pod(name: str = "web", **spec: Any) -> Json:
    container = {"name": "main", "image": "busybox:1"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], "nodeName": "edge-1"} | spec,
    }


def config_map(name: str = "settings", labels: Json | None = None, **data: str) -> Json:
    metadata: Json = {"name": name}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
