"""One run of a probe: exec, httpGet, tcpSocket or grpc, once, within its time.

Owns what counts as success, in a kubelet's words. A check that cannot be made (a port that the
container does not have, a command that the runtime cannot start) has an outcome that decides
nothing; while the runtime is away there is none at all, since nothing follows from not knowing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from edgeagent.pods.model.durations import go_duration
from edgeagent.pods.probing import grpc_health, handlers, http_client
from edgeagent.pods.probing.allowance import Allowance
from edgeagent.pods.probing.dialing import DialFailed
from edgeagent.pods.probing.executing import Executes
from edgeagent.pods.probing.handlers import BadHandler, Target
from edgeagent.runtime.port import RuntimeAway
from shared.errors import KubetideError
from shared.objects import Json

_MOST_OUTPUT = 1024
_TRIES = 3
"""Of a check that the runtime could not make; the last one is told."""


class Result(enum.Enum):
    SUCCESS = "success"
    WARNING = "warning"
    """A success that there is something to say about."""
    FAILURE = "failure"
    UNKNOWN = "unknown"
    """It could not be made; counts neither way."""


@dataclass(frozen=True, slots=True)
class Outcome:
    result: Result
    words: str = ""
    state: str = "unknown"
    """What a check that could not be made is told to be; it counts neither way all the same."""

    @property
    def good(self) -> bool:
        return self.result in (Result.SUCCESS, Result.WARNING)


async def check(probe: Json, target: Target, runtime: Executes) -> Outcome | None:
    """None = the runtime is away."""
    words, state = "", "unknown"
    for _ in range(_TRIES):
        try:
            return await _once(probe, target, runtime)
        except RuntimeAway:
            return None
        except BadHandler as error:
            return Outcome(Result.UNKNOWN, str(error))
        except http_client.BodyFailed as error:
            words, state = str(error), "failure"
        except KubetideError as error:
            words, state = str(error), "unknown"
    return Outcome(Result.UNKNOWN, words, state)


async def _once(probe: Json, target: Target, runtime: Executes) -> Outcome:
    seconds = float(probe.get("timeoutSeconds") or 1)
    if "exec" in probe:
        return await _exec(probe["exec"], target, runtime, seconds)
    if "httpGet" in probe:
        return await _http(probe["httpGet"], target, seconds)
    if "tcpSocket" in probe:
        return await _tcp(probe["tcpSocket"], target, seconds)
    if "grpc" in probe:
        return await _grpc(probe["grpc"], target, seconds)
    raise BadHandler("missing probe handler")


async def _exec(handler: Json, target: Target, runtime: Executes, seconds: float) -> Outcome:
    command = handlers.probe_command_of(target, handler)
    try:
        result = await runtime.exec_sync(target.container_id, command, seconds)
    except TimeoutError:
        late = f'"{" ".join(command)}" timed out after {go_duration(seconds)}'
        return Outcome(Result.FAILURE, f"command timed out: {late}")
    result_of = Result.FAILURE if result.exit_code else Result.SUCCESS
    return Outcome(result_of, result.said(_MOST_OUTPUT))


async def _http(http_get: Json, target: Target, seconds: float) -> Outcome:
    url, headers = handlers.url_of(target, http_get), handlers.headers_of(http_get)
    try:
        answer = await http_client.get(url, headers, seconds=seconds)
    except http_client.BodyFailed:
        raise
    except http_client.HttpFailed as error:
        return Outcome(Result.FAILURE, str(error))
    if 200 <= answer.status < 300:
        return Outcome(Result.SUCCESS)
    if 300 <= answer.status < 400:
        words = f"Probe terminated redirects, Response body: {answer.body}"
        return Outcome(Result.WARNING, words)
    return Outcome(Result.FAILURE, f"HTTP probe failed with statuscode: {answer.status}")


async def _tcp(socket: Json, target: Target, seconds: float) -> Outcome:
    host, port = socket.get("host") or target.host, handlers.port_of(target, socket.get("port"))
    try:
        await handlers.connect(host, port, allowance=Allowance(seconds))
    except DialFailed as error:
        return Outcome(Result.FAILURE, str(error))
    return Outcome(Result.SUCCESS)


async def _grpc(grpc: Json, target: Target, seconds: float) -> Outcome:
    port, service = handlers.port_of(target, grpc.get("port")), grpc.get("service") or ""
    try:
        status = await grpc_health.check(target.host, port, service, seconds=seconds)
    except grpc_health.GrpcFailed as error:
        return Outcome(Result.FAILURE, str(error))
    if status == "SERVING":
        return Outcome(Result.SUCCESS)
    return Outcome(Result.FAILURE, f'service unhealthy (responded with "{status}")')
