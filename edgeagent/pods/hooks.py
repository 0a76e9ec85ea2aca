"""Lifecycle hooks: postStart and preStop by exec, httpGet, tcpSocket and sleep.

Owns what counts as a failed hook. When to run one, for how long, and what follows from a failure
is the caller's (``acting.py``).
"""

from __future__ import annotations

from edgeagent.pods import handlers, http_client
from edgeagent.pods.dialing import DialFailed
from edgeagent.pods.handlers import BadHandler, Target
from edgeagent.runtime.port import Runtime
from shared.clock import Clock
from shared.errors import KubetideError
from shared.objects import Json

_NO_LIMIT = 24 * 3600.0
"""Seconds: a hook may take as long as it likes, until its caller gives it up."""


class HookFailed(Exception):
    """In the words of the Event."""


class Hooks:
    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock

    async def run(self, hook: Json, *, spec: Json, container_id: str, ips: tuple[str, ...]) -> None:
        target = Target(spec, container_id, ips)
        try:
            if "exec" in hook:
                await self._exec(hook["exec"].get("command") or [], container_id)
            elif "httpGet" in hook:
                await _http_get(hook["httpGet"], target)
            elif "tcpSocket" in hook:
                socket = hook["tcpSocket"]
                port = handlers.port_of(target, socket.get("port"))
                await handlers.connect(socket.get("host") or target.host, port)
            elif "sleep" in hook:
                await self._clock.sleep(float(hook["sleep"].get("seconds") or 0))
        except (KubetideError, BadHandler, http_client.HttpFailed, DialFailed) as error:
            raise HookFailed(str(error)) from error

    async def _exec(self, command: list[str], container_id: str) -> None:
        result = await self._runtime.exec_sync(container_id, command, _NO_LIMIT)
        if result.exit_code:
            said = (result.stderr or result.stdout).decode(errors="replace")[:400]
            words = f"command '{' '.join(command)}' exited with {result.exit_code}: {said}"
            raise HookFailed(words)


async def _http_get(http_get: Json, target: Target) -> None:
    url = handlers.url_of(target, http_get)
    answer = await http_client.get(url, handlers.headers_of(http_get))
    if answer.status >= 400:
        raise HookFailed(f"HTTP probe failed with statuscode: {answer.status}")
