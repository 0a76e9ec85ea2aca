"""Lifecycle hooks: postStart and preStop by exec, httpGet and sleep.

Owns what counts as a failed hook: a command that does not exit with 0, an address that gives no
HTTP answer at all (what it answers does not matter, unlike a probe), and tcpSocket, which the API
keeps for old manifests and documents as failing. While the runtime is away nothing was learned
about the hook: that is raised as it is. When to run one, for how long, and what follows from a
failure is the caller's (``starting.py``, ``stopping.py``).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress

from edgeagent import KUBERNETES_VERSION
from edgeagent.pods.live import LivePod
from edgeagent.pods.materials.fieldrefs import quoted
from edgeagent.pods.model import specs
from edgeagent.pods.model.podevents import Record, warning
from edgeagent.pods.probing import handlers, http_client
from edgeagent.pods.probing.handlers import BadHandler, Target
from edgeagent.runtime.port import Runtime, RuntimeAway
from shared.clock import Clock
from shared.errors import KubetideError
from shared.objects import Json

_NO_LIMIT = 24 * 3600.0
"""Seconds: a hook may take as long as it likes, until its caller gives it up."""
_USER_AGENT = f"kube-lifecycle/{KUBERNETES_VERSION}"
_MOST_OUTPUT = 400


class HookFailed(Exception):
    """In the words of the container's status; Events say less, since output may be secret."""


class Hooks:
    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock

    async def run(self, hook: Json, *, pod: Json, target: Target, record: Record) -> None:
        name, title = target.spec["name"], specs.title(pod)
        where = f'for Container "{name}" in Pod "{title}" failed - error:'
        if "exec" in hook:
            command = hook["exec"].get("command") or []
            failed = f"Exec lifecycle hook ([{' '.join(command)}]) {where}"
            await self._exec(command, target, failed)
        elif "httpGet" in hook:
            failed = f"HTTP lifecycle hook ({hook['httpGet'].get('path') or ''}) {where}"
            await _http_get(hook["httpGet"], target, record, failed)
        elif "sleep" in hook:
            await self._clock.sleep(float(hook["sleep"].get("seconds") or 0))
        else:
            raise HookFailed(f"Cannot run handler: invalid handler: {', '.join(hook) or 'none'}")

    async def _exec(self, command: list[str], target: Target, failed: str) -> None:
        try:
            result = await self._runtime.exec_sync(target.container_id, command, _NO_LIMIT)
        except RuntimeAway:
            raise
        except KubetideError as error:
            raise HookFailed(f'{failed} {error}, message: ""') from error
        if result.exit_code:
            said = result.said(_MOST_OUTPUT)
            errors = result.stderr[:_MOST_OUTPUT].decode(errors="replace")
            why = f"command '{' '.join(command)}' exited with {result.exit_code}: {errors}"
            raise HookFailed(f"{failed} {why}, message: {quoted(said)}")


class PodHooks:
    """Hooks of pods that run here, at the addresses that these have."""

    def __init__(
        self, runtime: Runtime, clock: Clock, node_ips: Callable[[], tuple[str, ...]]
    ) -> None:
        self._hooks = Hooks(runtime, clock)
        self._node_ips = node_ips

    async def run(self, pod: LivePod, hook: Json, *, spec: Json, container_id: str) -> None:
        ips = self._node_ips() if specs.on_host_network(pod.pod) else pod.facts.ips
        target = Target(spec, container_id, ips)
        await self._hooks.run(hook, pod=pod.pod, target=target, record=pod.events.record)


async def _http_get(http_get: Json, target: Target, record: Record, failed: str) -> None:
    headers = [*handlers.headers_of(http_get), ("User-Agent", _USER_AGENT)]
    try:
        url = handlers.url_of(target, http_get)
        try:
            await http_client.get(url, headers)
        except http_client.BodyFailed:
            pass  # What is answered does not matter.
        except http_client.HttpFailed as error:
            if not _spoke_plainly(error):
                raise
            await _plainly(url, headers, record)
    except (BadHandler, http_client.HttpFailed) as error:
        raise HookFailed(f"{failed} {error}") from error


def _spoke_plainly(error: http_client.HttpFailed) -> bool:
    """Whether an HTTPS request met a server of plain HTTP."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__
    return cause is not None and cause.reason == "WRONG_VERSION_NUMBER"


async def _plainly(url: str, headers: http_client.Headers, record: Record) -> None:
    """As documented for hooks: once more without TLS, and without what only TLS may carry."""
    plain = url.replace("https://", "http://", 1)
    kept = [one for one in headers if one[0].lower() != "authorization"]
    with suppress(http_client.BodyFailed):
        await http_client.get(plain, kept)
    host = url.removeprefix("https://").partition("/")[0]
    words = f"request to HTTPS lifecycle hook {host} got HTTP response, retry with HTTP succeeded"
    record(warning("LifecycleHTTPFallback", words))
