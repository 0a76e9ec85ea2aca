"""gRPC errors of a container runtime become ours here, once, in a fixed order.

Owns the reading of status codes and of pull messages. containerd and CRI-O answer most failures
with code UNKNOWN, so a pull is classified by text: first what can never work, then what says that
the registry was not reached, and only then everything else; the runtime's own words are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from google.protobuf.message import DecodeError
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from h2.exceptions import H2Error

from edgeagent.runtime.port import (
    ImagePullError,
    InvalidImageName,
    RegistryUnreachable,
    RuntimeAway,
    UnclearImageName,
)
from shared.errors import KubetideError, PermanentError, TemporaryError


class NotThere(TemporaryError):
    """The sandbox, container or image named in the call does not exist (now)."""


class TookTooLong(RuntimeAway):
    """The deadline of the call passed, on our side or on the runtime's."""


_NEVER = {Status.INVALID_ARGUMENT, Status.UNIMPLEMENTED}

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
    r"|pinging container registry(?!.*(x509: |server gave HTTP response|status code))|: EOF$"
    r"|\b50[234] (Bad Gateway|Service Unavailable|Gateway)"
    # CRI-O gives a pull up in which nothing comes any more (pull_progress_timeout).
    r"|context canceled"
    r"|certificate has expired or is not yet valid",
    re.IGNORECASE,
)

# CRI-O looks names without a registry up in its settings; it guesses none.
_UNCLEAR_NAME = re.compile(r"short-name \"|short-name resolution|short name mode is")


Verdict = Callable[[Status, str], KubetideError]


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Raise our errors for everything that the connection and the runtime raise inside."""
    with _translated(lambda status, details: of_call(action, status, details)):
        yield


@contextmanager
def translated_start(action: str) -> Iterator[None]:
    """Why something does not start is read in Events and statuses: the runtime's words alone."""
    with _translated(lambda status, details: of_start(action, status, details)):
        yield


@contextmanager
def translated_look_up(image: str) -> Iterator[None]:
    with _translated(lambda status, details: of_look_up(image, status, details)):
        yield


@contextmanager
def translated_pull(image: str) -> Iterator[None]:
    with _translated(lambda status, details: of_pull(image, status, details)):
        yield


@contextmanager
def sayable(what: str) -> Iterator[None]:
    """Building a request fails for values that the CRI has no word for or no room for."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise PermanentError(f"the runtime cannot be asked for this {what}: {error}") from error


@contextmanager
def _translated(verdict: Verdict) -> Iterator[None]:
    """Timeouts before OSError: they are one too."""
    try:
        yield
    except GRPCError as error:
        raise verdict(error.status, error.message or "") from error
    except TimeoutError as error:
        raise verdict(Status.DEADLINE_EXCEEDED, "no answer in time") from error
    except (OSError, StreamTerminatedError, H2Error) as error:
        raise verdict(Status.UNAVAILABLE, str(error)) from error
    except (DecodeError, AssertionError, NotImplementedError) as error:
        # An answer that is none, in the words of protobuf or of grpclib.
        raise verdict(Status.DATA_LOSS, f"answer not understood: {error}") from error


_STARTING = "server is not initialized yet"
"""containerd answers so, with status UNKNOWN, until it has read its own state after a restart."""


def of_call(action: str, status: Status, details: str) -> KubetideError:
    if status is Status.UNAVAILABLE or _STARTING in details:
        return RuntimeAway(f"the container runtime does not answer ({action}): {details}")
    if status is Status.DEADLINE_EXCEEDED:
        return TookTooLong(f"the container runtime took too long ({action}): {details}")
    if status is Status.NOT_FOUND:
        return NotThere(f"{action}: {details}")
    if status in _NEVER:
        return PermanentError(f"{action}: {details}")
    return TemporaryError(f"{action}: {details}")


def of_start(action: str, status: Status, details: str) -> KubetideError:
    error = of_call(action, status, details)
    plain = isinstance(error, RuntimeAway) or not details
    return error if plain else type(error)(details)


def of_look_up(image: str, status: Status, details: str) -> KubetideError:
    if status is Status.INVALID_ARGUMENT or _BAD_NAME.search(details):
        return InvalidImageName(f"{image!r} is not an image name: {details}")
    if _UNCLEAR_NAME.search(details):
        return UnclearImageName(details)
    return of_call(f"look up {image}", status, details)


def of_pull(image: str, status: Status, details: str) -> KubetideError:
    if status is Status.INVALID_ARGUMENT or _BAD_NAME.search(details):
        return of_look_up(image, status, details)
    if status is Status.UNAVAILABLE and "RegistryUnavailable" not in details:
        return of_call(f"pull {image}", status, details)
    if status is Status.DEADLINE_EXCEEDED or _NO_REGISTRY.search(details):
        return RegistryUnreachable(details)
    return ImagePullError(details)
