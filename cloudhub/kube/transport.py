"""One HTTP request to the API server: counted, timed, its failures translated.

``opened`` gives a response of the 2xx kind or raises ``KubeError`` or ``KubeRefused``; nothing of
aiohttp's errors passes. Called by ``client.py`` only.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

import aiohttp

from cloudhub.kube.access import Access, hang_up, keep_alive
from cloudhub.kube.refusals import Request, refusal, transport_error
from shared.errors import KubeError
from shared.objects import Json

Counter = Callable[[str, str, str], None]
"""Called with verb, resource and HTTP status (``error`` when there was no answer)."""

ANSWER_WITHIN = 30.0
CONNECT_WITHIN = 10.0
MAX_ERROR = 64 * 1024
MAX_LINE = 64 * 1024 * 1024
"""Most bytes of one watch event; etcd's own limit for an object is 1.5 MiB."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request in terms of HTTP."""

    method: str
    request: Request
    body: Json | None = None
    content_type: str = "application/json"
    accept: str = "application/json"
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        request = self.request
        path = request.resource.path(request.namespace, request.name, request.subresource)
        query = urlencode({key: value for key, value in self.parameters.items() if value})
        return f"{path}?{query}" if query else path

    @property
    def headers(self) -> Mapping[str, str]:
        return {
            "Accept": self.accept,
            "Content-Type": self.content_type,
            "User-Agent": "kubetide-hub",
        }


class Transport:
    def __init__(self, access: Access, *, count: Counter) -> None:
        self._access = access
        self._count = count

    async def answer(self, call: Call) -> Json:
        """The JSON object that the server answered."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN, sock_connect=CONNECT_WITHIN)
        async with self._opened(call, timeout) as response:
            with self._translated(call.request):
                data = await response.read()
        return json_object(call.request, data)

    async def lines(self, call: Call, *, silence: float) -> AsyncGenerator[bytes, None]:
        """The lines of an answer that goes on; ``silence`` is the longest pause allowed."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WITHIN, sock_read=silence)
        async with self._opened(call, timeout) as response:
            keep_alive(response)
            rest = bytearray()
            with self._translated(call.request):
                async for chunk in response.content.iter_any():
                    *whole, last = chunk.split(b"\n")
                    for part in whole:
                        yield bytes(rest + part)
                        rest.clear()
                    rest += last
                    if len(rest) > MAX_LINE:
                        raise KubeError(f"{call.request}: an event of more than {MAX_LINE} bytes")

    async def close(self) -> None:
        await self._access.close()

    @asynccontextmanager
    async def _opened(
        self, call: Call, timeout: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        response = await self._send(call, timeout)
        try:
            if not 200 <= response.status < 300:
                with self._translated(call.request):
                    data = await response.content.read(MAX_ERROR)
                raise refusal(call.request, response.status, data, response.headers)
            yield response
        finally:
            hang_up(response)

    async def _send(self, call: Call, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        code = "error"
        try:
            with self._translated(call.request):
                response = await self._access.send(
                    *(call.method, call.path),
                    headers=call.headers,
                    timeout=timeout,
                    body=call.body,
                )
            code = str(response.status)
        finally:
            self._count(call.request.verb, call.request.target, code)
        return response

    @contextlib.contextmanager
    def _translated(self, request: Request) -> Iterator[None]:
        try:
            yield
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise transport_error(request, self._access.server, error) from error


def json_object(request: Request, data: bytes) -> Json:
    try:
        answer = json.loads(data)
    except ValueError as error:
        raise KubeError(f"{request}: the answer is not JSON: {error}") from error
    if not isinstance(answer, dict):
        raise KubeError(f"{request}: the answer is a {type(answer).__name__}, not an object")
    return answer
