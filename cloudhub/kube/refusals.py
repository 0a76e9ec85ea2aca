"""HTTP answers and transport failures → the error tree, in one place and a fixed order.

429 and 5xx ask to come back (``KubeError``); every other failure status is the server's no
(``KubeRefused``). 401 and 403 say which right is missing, because that is what the reader has to
repair.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from cloudhub.kube.port import Resource
from shared.errors import KubeError, KubeRefused
from shared.objects import Json

RETRYABLE = frozenset({408, 429})
LONGEST_DELAY = 300.0


@dataclass(frozen=True, slots=True)
class Request:
    """One call as RBAC, the counter and a reader of logs see it."""

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def target(self) -> str:
        """``pods/status``: how RBAC names the resource."""
        plural = self.resource.plural
        return f"{plural}/{self.subresource}" if self.subresource else plural

    def __str__(self) -> str:
        place = f" in {self.namespace}" if self.namespace else ""
        name = f" {self.name}" if self.name else ""
        return f"{self.verb} {self.target}{name}{place}"


def refusal(
    request: Request, status: int, body: bytes, headers: Mapping[str, str]
) -> KubeError | KubeRefused:
    """The error for an answer of 400 or more (or a redirect, which an API server never sends)."""
    answer = _status_object(body)
    said = str(answer.get("message") or body[:200].decode(errors="replace").strip())[:1000]
    text = f"{request}: {status}: {said or 'no reason given'}"
    if status in RETRYABLE or status >= 500 or status < 400:
        return KubeError(text, status=status, delay=_delay(answer, headers))
    if status == 401:
        text += "; the API server does not know our credentials: check the kubeconfig or the token"
    if status == 403:
        text += f"; {_missing_right(request)}"
    return KubeRefused(text, status=status, reason=str(answer.get("reason") or ""))


def transport_error(request: Request, server: str, error: Exception) -> KubeError:
    """For what aiohttp raises when there is no usable answer."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        cause = f"TLS: {error}; check certificate-authority"
    elif isinstance(error, TimeoutError):
        cause = "no answer in time"
    else:
        cause = str(error) or type(error).__name__
    return KubeError(f"{request}: {server}: {cause}")


def _status_object(body: bytes) -> Json:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _delay(answer: Json, headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds (the API server never sends a date), from the header or the body."""
    details = answer.get("details")
    said = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    try:
        seconds = float(headers.get("Retry-After") or said or "")
    except (TypeError, ValueError):
        return None
    return min(seconds, LONGEST_DELAY) if seconds >= 0 else None


def _missing_right(request: Request) -> str:
    group = request.resource.prefix.split("/")[1] if "apis/" in request.resource.prefix else ""
    kind = "Role" if request.namespace else "ClusterRole"
    return (
        f"a {kind} of the hub's account must allow verb {request.verb!r} on resource "
        f"{request.target!r} in apiGroup {group!r}"
    )
