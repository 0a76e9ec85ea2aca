"""One run of a probe: exec, httpGet, tcpSocket or grpc, once, within its time.

Owns what counts as success, in a kubelet's words. A check that could not be made at all (the
runtime is away) has no outcome: nothing follows from not knowing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from edgeagent.pods import grpc_health, handlers, http_client
from edgeagent.pods.handlers import BadHandler, Target
from edgeagent.runtime.port import Runtime
from shared.errors import KubetideError
from shared.objects import Json

_MOST_OUTPUT = 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    good: bool
    words: str = ""


async def check(probe: Json, target: Target, runtime: Runtime) -> Outcome | None:
    """None = no verdict."""
    timeout = float(probe.get("timeoutSeconds") or 1)
    try:
        if "exec" in probe:
            return await _exec(probe["exec"].get("command") or [], target, runtime, timeout)
        return await asyncio.wait_for(_over_network(probe, target), timeout)
    except TimeoutError:
        return Outcome(False, f"command timed out after {timeout:g}s")
    except (BadHandler, KubetideError):
        return None


async def _exec(command: list[str], target: Target, runtime: Runtime, timeout: float) -> Outcome:
    result = await runtime.exec_sync(target.container_id, command, timeout)
    said = (result.stdout + result.stderr)[:_MOST_OUTPUT].decode(errors="replace")
    return Outcome(result.exit_code == 0, said)


async def _over_network(probe: Json, target: Target) -> Outcome:
    if "httpGet" in probe:
        return await _http(probe["httpGet"], target)
    if "tcpSocket" in probe:
        return await _tcp(probe["tcpSocket"], target)
    if "grpc" in probe:
        return await _grpc(probe["grpc"], target)
    return Outcome(True)


async def _http(http_get: Json, target: Target) -> Outcome:
    url = handlers.url_of(target, http_get)
    try:
        answer = await http_client.get(url, handlers.headers_of(http_get))
    except http_client.HttpFailed as error:
        return Outcome(False, str(error))
    if 200 <= answer.status < 400:
        return Outcome(True)
    return Outcome(False, f"HTTP probe failed with statuscode: {answer.status}")


async def _tcp(socket: Json, target: Target) -> Outcome:
    host, port = socket.get("host") or target.host, handlers.port_of(target, socket.get("port"))
    try:
        await handlers.connect(host, port)
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        return Outcome(False, f"dial tcp {host}:{port}: connect: {words}")
    return Outcome(True)


async def _grpc(grpc: Json, target: Target) -> Outcome:
    try:
        port = handlers.port_of(target, grpc.get("port"))
        status = await grpc_health.check(target.host, port, grpc.get("service") or "")
    except grpc_health.GrpcFailed as error:
        return Outcome(False, str(error))
    return Outcome(status == "SERVING", f'service unhealthy (responded with "{status}")')
