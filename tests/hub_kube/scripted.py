"""An HTTP server that answers as a test's script says: the bad days of an API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Script:
    """What is answered to each request in turn; the last answer is for all that follow."""

    answers: list[Answer] = field(default_factory=list)
    seen: list[web.Request] = field(default_factory=list)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def asked(self, times: int) -> None:
        """Wait until so many requests came in all."""
        async with self._arrived, asyncio.timeout(10):
            await self._arrived.wait_for(lambda: len(self.seen) >= times)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        answer = self.answers[min(len(self.seen), len(self.answers) - 1)]
        async with self._arrived:
            self.seen.append(request)
            self._arrived.notify_all()
        return await answer(request)


def says(body: Any, *, status: int = 200, **headers: str) -> Answer:
    """JSON (or a text as it is) with this status."""

    async def answer(request: web.Request) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(text=text, status=status, headers=named)

    return answer


def listed(*names: str, version: str = "100", **metadata: str) -> Answer:
    items = [{"metadata": {"name": name, "resourceVersion": "1"}} for name in names]
    return says(
        {"kind": "PodList", "metadata": {"resourceVersion": version, **metadata}, "items": items}
    )


def streams(*events: Any, cut: bool = False) -> Answer:
    """A watch that says these events and ends, in good order or by a cut connection."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            text = event if isinstance(event, str) else json.dumps(event) + "\n"
            await response.write(text.encode())
        if cut and request.transport:
            request.transport.close()
        return response

    return answer


def event(kind: str, name: str, version: str) -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"name": name, "resourceVersion": version}}}


def refused(status: int, reason: str, message: str = "no", **details: Any) -> Answer:
    body = {"kind": "Status", "code": status, "reason": reason, "message": message, **details}
    return says(body, status=status)


@asynccontextmanager
async def serving(script: Script, folder: Path) -> AsyncIterator[Path]:
    """Runs the script on a loopback port; gives a kubeconfig for it."""
    runner = web.ServerRunner(web.Server(script), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield write_kubeconfig(folder / "kubeconfig", f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


def write_kubeconfig(path: Path, server: str, **user: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {"token": "a-token", **user}}],
    }
    path.write_text(json.dumps(config))
    return path
