"""The hub's HTTP door for Prometheus and for Kubernetes' probes; nothing else is served.

``/healthz`` answers while the loop turns; ``/readyz`` says 503 and what is missing until every
condition holds; ``/metrics`` is Prometheus' text format.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from cloudhub.metrics import Metrics
from shared.errors import SettingsError

log = structlog.get_logger()

Conditions = Mapping[str, Callable[[], bool]]
"""What must hold for the hub to be ready, by the words that say so."""


@asynccontextmanager
async def probes(listen: str, metrics: Metrics, conditions: Conditions) -> AsyncIterator[int]:
    """Serve on ``HOST:PORT`` while the context is open; gives the port (0 takes a free one)."""
    runner = web.AppRunner(_application(metrics, conditions), access_log=None, shutdown_timeout=1)
    host, port = parse_listen(listen)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host or None, port).start()
        except OSError as error:
            reason = error.strerror or str(error)
            raise SettingsError(f"metrics-listen: {listen}: {reason}") from error
        bound = runner.addresses[0][1]
        log.info("metrics and probes served", host=host or "*", port=bound)
        yield bound
    finally:
        await runner.cleanup()


def parse_listen(listen: str) -> tuple[str, int]:
    """``HOST:PORT``, ``:PORT`` (all addresses) or ``[V6]:PORT``."""
    host, colon, port = listen.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() else -1
    if not colon or not 0 <= number <= 65535:
        raise SettingsError(f"metrics-listen: {listen!r} is not HOST:PORT, for instance :9090")
    return host.strip("[]"), number


def _application(metrics: Metrics, conditions: Conditions) -> web.Application:
    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        holds = {words: check() for words, check in conditions.items()}
        lines = [f"[{'+' if good else '-'}] {words}\n" for words, good in holds.items()]
        return web.Response(text="".join(lines), status=200 if all(holds.values()) else 503)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": TEXT_FORMAT})

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", scrape)
    return application


TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
