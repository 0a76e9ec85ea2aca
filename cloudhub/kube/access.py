"""How the hub reaches the API server: address, TLS and credentials, from a kubeconfig or a pod.

The only importer of ``kubernetes.aio``. Of that library the configuration loaders and the REST
transport are used, never the generated models. Tokens that expire (service account, exec plugin)
are read anew as they age; client certificates are read once, at the start.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException
from kubernetes.aio.config.incluster_config import load_incluster_config
from kubernetes.aio.config.kube_config import load_kube_config
from yaml import YAMLError

from shared.errors import SettingsError
from shared.objects import Json

log = structlog.get_logger()

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_AGE = 60.0
"""Seconds after which a kubeconfig's token is looked up again."""

UNREADABLE = (ConfigException, YAMLError, OSError, ValueError, AttributeError, TypeError, KeyError)
"""What the loaders raise for a file that is not a kubeconfig."""


class Access:
    """An open door to one API server; ``send`` is one HTTP request."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._rest = RESTClientObject(configuration)

    @property
    def server(self) -> str:
        return str(self._configuration.host)

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
        body: Json | None = None,
    ) -> aiohttp.ClientResponse:
        """The caller reads and releases the response; aiohttp's errors pass through."""
        token = await self._configuration.get_api_key_with_prefix("BearerToken")
        secret = {"Authorization": token} if token else {}
        answer = await self._rest.request(
            method,
            self.server + path,
            headers={**headers, **secret},
            body=body,
            _request_timeout=timeout,
        )
        response: aiohttp.ClientResponse = answer.response
        return response

    async def close(self) -> None:
        await self._rest.close()
        # Connections that were dropped are closed by the loop in its next rounds.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def open_access(kubeconfig: str = "", context: str = "") -> Access:
    """From ``kubeconfig``, else ``$KUBECONFIG``, else the pod's service account, else ~/.kube."""
    configuration = Configuration()
    try:
        if not kubeconfig and not os.environ.get("KUBECONFIG") and in_cluster():
            load_incluster_config(client_configuration=configuration)
        else:
            await _load_file(configuration, _path_of(kubeconfig), context)
        return Access(configuration)
    except UNREADABLE as error:
        where = kubeconfig or "the Kubernetes configuration"
        # The loader puts whole parts of the file, with their tokens, into its messages.
        said = str(error).partition("{")[0]
        raise SettingsError(f"kubeconfig: {where}: {said}") from None


def in_cluster() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and (SERVICE_ACCOUNT / "token").exists()


def _path_of(kubeconfig: str) -> str:
    paths = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep)):
        raise SettingsError(
            f"kubeconfig: {paths} does not exist; name a file with --kubeconfig, or run in a pod"
        )
    return paths


async def _load_file(configuration: Configuration, path: str, context: str) -> None:
    options = {"config_file": path, "context": context or None, "persist_config": False}
    loader = await load_kube_config(client_configuration=configuration, **options)
    read_at = time.monotonic()

    async def refresh(_: Configuration) -> None:
        nonlocal read_at
        if time.monotonic() - read_at < TOKEN_AGE:
            return
        read_at = time.monotonic()
        if hasattr(loader, "exec_plugin_expiry"):
            await loader.load_from_exec_plugin()
            fresh: Any = getattr(loader, "token", None)
        else:
            fresh = await _token_in(options)
        if fresh:
            configuration.api_key["BearerToken"] = fresh

    configuration.refresh_api_key_hook = refresh


async def _token_in(options: dict[str, Any]) -> str | None:
    """None while somebody writes the file: what it had goes on."""
    again = Configuration()
    try:
        await load_kube_config(client_configuration=again, **options)
    except UNREADABLE as error:
        said = type(error).__name__
        log.warning("kubeconfig not read again", path=options["config_file"], error=said)
        return None
    token: str | None = again.api_key.get("BearerToken")
    return token


def keep_alive(response: aiohttp.ClientResponse) -> None:
    """Let the system notice within about a minute that the peer of an idle watch is gone."""
    transport = response.connection.transport if response.connection else None
    sock = transport.get_extra_info("socket") if transport else None
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def hang_up(response: aiohttp.ClientResponse) -> None:
    """Keep the connection after a whole answer; drop it at once in the middle of one.

    A polite end of TLS would wait for a peer that may be gone.
    """
    transport = response.connection.transport if response.connection else None
    if transport is not None and not response.content.at_eof():
        transport.abort()
    response.release()
