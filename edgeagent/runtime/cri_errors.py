"""gRPC errors of a container runtime become ours here, once, in a fixed order.

Owns the reading of status codes and of pull messages. containerd and CRI-O answer most failures
with code UNKNOWN, so a pull is classified by text: first what can never work, then what says that
the registry was not reached, and only then everything else; the runtime's own words are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import grpc.aio

from edgeagent.runtime.port import (
    ImagePullError,
    InvalidImageName,
    RegistryUnreachable,
    RuntimeAway,
)
from shared.errors import KubetideError, PermanentError, TemporaryError


class NotThere(TemporaryError):
    """The sandbox, container or image named in the call does not exist (now)."""


class TookTooLong(RuntimeAway):
    """The deadline of the call passed, on our side or on the runtime's."""


_NEVER = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED}

_BAD_NAME = re.compile(
    r"invalid reference format|parse (image )?reference|must be lowercase|invalid image name"
    r"|InvalidImageName",
    re.IGNORECASE,
)
# The last alternative is a device whose clock was never set: to it every certificate is from the
# future, and the image on its disk is as good as with the registry away.
_NO_REGISTRY = re.compile(
    r"dial tcp|dial unix|lookup .* on |no such host|server misbehaving|i/o timeout"
    r"|connection (refused|reset|timed out)|network is unreachable|no route to host"
    r"|TLS handshake timeout|context deadline exceeded|RegistryUnavailable|unexpected EOF"
    r"|pinging container registry|: EOF$|\b50[234] (Bad Gateway|Service Unavailable|Gateway)"
    r"|certificate has expired or is not yet valid",
    re.IGNORECASE,
)


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Raise our errors for everything that gRPC raises inside."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise of_call(action, error.code(), error.details() or "") from error


@contextmanager
def translated_look_up(image: str) -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise of_look_up(image, error.code(), error.details() or "") from error


@contextmanager
def translated_pull(image: str) -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise of_pull(image, error.code(), error.details() or "") from error


def of_call(action: str, code: grpc.StatusCode, details: str) -> KubetideError:
    if code is grpc.StatusCode.UNAVAILABLE:
        return RuntimeAway(f"the container runtime does not answer ({action}): {details}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TookTooLong(f"the container runtime took too long ({action}): {details}")
    if code is grpc.StatusCode.NOT_FOUND:
        return NotThere(f"{action}: {details}")
    if code in _NEVER:
        return PermanentError(f"{action}: {details}")
    return TemporaryError(f"{action}: {details}")


def of_look_up(image: str, code: grpc.StatusCode, details: str) -> KubetideError:
    if code is grpc.StatusCode.INVALID_ARGUMENT or _BAD_NAME.search(details):
        return InvalidImageName(f"{image!r} is not an image name: {details}")
    return of_call(f"look up {image}", code, details)


def of_pull(image: str, code: grpc.StatusCode, details: str) -> KubetideError:
    if code is grpc.StatusCode.INVALID_ARGUMENT or _BAD_NAME.search(details):
        return of_look_up(image, code, details)
    if code is grpc.StatusCode.UNAVAILABLE and "RegistryUnavailable" not in details:
        return of_call(f"pull {image}", code, details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED or _NO_REGISTRY.search(details):
        return RegistryUnreachable(details)
    return ImagePullError(details)
