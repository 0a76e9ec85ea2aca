"""``ApiServer``: the embedded Kubernetes API server, started and stopped from Python.

In memory, on loopback, for development and tests: what it holds is gone when it stops. One process
and one event loop; ``url``, ``token`` and ``kubeconfig()`` are valid after ``start()``.
"""

from __future__ import annotations

import asyncio
import random

from aiohttp import web

from devcluster.apiserver.access import Access, kubeconfig, make_certificate
from devcluster.apiserver.housekeeping import EventExpiry, Namespaces, create_first_objects
from devcluster.apiserver.http import MAX_BODY, Handler
from devcluster.apiserver.objects import Objects
from devcluster.apiserver.scheduling import Scheduler
from devcluster.apiserver.store import Store
from shared.clock import SystemClock
from shared.tasks import stop

HOST = "127.0.0.1"


class ApiServer:
    def __init__(
        self,
        *,
        port: int = 0,
        tls: bool = True,
        scheduler: bool = True,
        history: int = 2000,
    ) -> None:
        """``port`` 0 takes a free one; ``history`` bounds how far back a watch can start.

        Without ``tls`` the URL is plain HTTP, over which ``kubectl`` sends no token.
        """
        self._port = port
        self._scheduling = scheduler
        self._certificate = make_certificate() if tls else None
        self._access = Access()
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        clock = SystemClock()
        store = Store(history=history, first_version=int(clock.now() * 1000))
        self.objects = Objects(store, clock, random_source=random.SystemRandom())
        create_first_objects(self.objects)

    @property
    def url(self) -> str:
        scheme = "https" if self._certificate else "http"
        return f"{scheme}://{HOST}:{self._port}"

    @property
    def token(self) -> str:
        return self._access.token

    @property
    def ca_pem(self) -> bytes:
        """The certificate to trust; empty over plain HTTP."""
        return self._certificate.pem if self._certificate else b""

    def kubeconfig(self) -> str:
        return kubeconfig(self.url, self.token, self._certificate)

    async def start(self) -> None:
        app = web.Application(client_max_size=MAX_BODY)
        handler = Handler(self.objects, self._access, stopping=self._stopping)
        app.router.add_route("*", "/{path:.*}", handler.handle)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0
        )
        await self._runner.setup()
        context = self._certificate.context() if self._certificate else None
        site = web.TCPSite(self._runner, HOST, self._port, ssl_context=context)
        await site.start()
        self._port = self._runner.addresses[0][1]
        roots = [Namespaces(self.objects).run(), EventExpiry(self.objects).run()]
        if self._scheduling:
            roots.append(Scheduler(self.objects).run())
        self._tasks = [asyncio.create_task(root) for root in roots]

    async def stop(self) -> None:
        """End every watch, close the port, forget everything."""
        self._stopping.set()
        await stop(*self._tasks)
        if self._runner is not None:
            await self._runner.cleanup()
