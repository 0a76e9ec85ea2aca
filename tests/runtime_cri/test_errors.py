"""Which of our errors each answer of a runtime becomes; messages as real runtimes write them."""

from __future__ import annotations

import asyncio

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from edgeagent.runtime.cri_errors import (
    NotThere,
    TookTooLong,
    of_call,
    of_look_up,
    of_pull,
    of_start,
    translated,
    translated_pull,
)
from edgeagent.runtime.cri_messages import cri
from edgeagent.runtime.port import (
    ImagePullError,
    InvalidImageName,
    RegistryUnreachable,
    RuntimeAway,
    UnclearImageName,
)
from shared.errors import PermanentError, TemporaryError


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.UNAVAILABLE, RuntimeAway),
        (Status.DEADLINE_EXCEEDED, TookTooLong),
        (Status.NOT_FOUND, NotThere),
        (Status.INVALID_ARGUMENT, PermanentError),
        (Status.UNIMPLEMENTED, PermanentError),
        (Status.UNKNOWN, TemporaryError),
        (Status.FAILED_PRECONDITION, TemporaryError),
        (Status.RESOURCE_EXHAUSTED, TemporaryError),
    ],
)
def test_every_status_has_a_verdict(status: Status, kind: type) -> None:
    error = of_call("do it", status, "the runtime's words")
    assert type(error) is kind
    assert "the runtime's words" in str(error) and "do it" in str(error)


def test_what_does_not_start_is_told_in_the_runtimes_words_alone() -> None:
    words = 'OCI runtime create failed: exec: "/no": no such file or directory'
    assert str(of_start("start container", Status.UNKNOWN, words)) == words
    assert type(of_start("start container", Status.NOT_FOUND, words)) is NotThere
    assert "start container" in str(of_start("start container", Status.UNKNOWN, ""))
    away = of_start("start container", Status.UNAVAILABLE, "connection refused")
    assert isinstance(away, RuntimeAway)
    assert "start container" in str(away)


HEAD = 'failed to resolve reference "r.test/app:1": failed to do request: Head "https://r.test/": '


@pytest.mark.parametrize(
    ("details", "kind"),
    [
        ('failed to parse image reference "A": invalid reference format', InvalidImageName),
        ("repository name must be lowercase", InvalidImageName),
        (HEAD + "dial tcp 192.0.2.1:443: connect: connection refused", RegistryUnreachable),
        (HEAD + "dial tcp: lookup r.test on 192.0.2.53:53: no such host", RegistryUnreachable),
        (HEAD + "dial tcp 192.0.2.1:443: i/o timeout", RegistryUnreachable),
        (HEAD + "net/http: TLS handshake timeout", RegistryUnreachable),
        (HEAD + "context deadline exceeded", RegistryUnreachable),
        (HEAD + "EOF", RegistryUnreachable),
        (
            HEAD + "read tcp 10.0.0.1:1->192.0.2.1:443: connection reset by peer",
            RegistryUnreachable,
        ),
        ("unexpected status code [manifests 1]: 503 Service Unavailable", RegistryUnreachable),
        ("pinging container registry r.test: Get ...: no route to host", RegistryUnreachable),
        (
            HEAD + "tls: failed to verify certificate: x509: certificate has expired or is not yet"
            " valid: current time 1970-01-01T00:00:09Z is before 2024-01-01T00:00:00Z",
            RegistryUnreachable,
        ),
        (HEAD + "x509: certificate signed by unknown authority", ImagePullError),
        ('failed to resolve reference "r.test/app:1": r.test/app:1: not found', ImagePullError),
        ("pull access denied, repository does not exist or may require auth", ImagePullError),
        ("unexpected status code 401 Unauthorized", ImagePullError),
        ("failed to extract layer: no space left on device", ImagePullError),
        ("", ImagePullError),
    ],
)
def test_a_failed_pull_is_one_of_three(details: str, kind: type) -> None:
    error = of_pull("r.test/app:1", Status.UNKNOWN, details)
    assert type(error) is kind
    assert details in str(error)


PING = 'pinging container registry r.test: Get "https://r.test/v2/": '


@pytest.mark.parametrize(
    ("details", "kind"),
    [
        (PING + "dial tcp 192.0.2.1:443: connect: network is unreachable", RegistryUnreachable),
        (PING + "net/http: request canceled while waiting for connection", RegistryUnreachable),
        ("reading blob sha256:1: context canceled", RegistryUnreachable),
        (
            PING + "tls: failed to verify certificate: x509: certificate has expired or is not yet"
            " valid: current time 1970-01-01T00:00:09Z is before 2024-01-01T00:00:00Z",
            RegistryUnreachable,
        ),
        (PING + "x509: certificate signed by unknown authority", ImagePullError),
        (PING + "http: server gave HTTP response to HTTPS client", ImagePullError),
        ("reading manifest 1 in r.test/app: manifest unknown", ImagePullError),
        ("SignatureValidationFailed: Source image rejected: none", ImagePullError),
    ],
)
def test_a_pull_that_fails_in_cri_o_is_one_of_three_too(details: str, kind: type) -> None:
    assert type(of_pull("r.test/app:1", Status.UNKNOWN, details)) is kind


@pytest.mark.parametrize(
    "details",
    [
        'short-name "app:1" did not resolve to an alias and no unqualified-search registries are'
        ' defined in "/etc/containers/registries.conf"',
        "short name mode is enforcing, but image name app:1 returns ambiguous list",
    ],
)
def test_a_short_name_that_cri_o_cannot_resolve_is_unclear(details: str) -> None:
    error = of_look_up("app:1", Status.UNKNOWN, details)
    assert (type(error), str(error)) == (UnclearImageName, details)


def test_a_runtime_that_is_away_says_nothing_about_the_registry() -> None:
    lost = "[Errno 111] Connection refused"
    assert type(of_pull("a:1", Status.UNAVAILABLE, lost)) is RuntimeAway
    crio = "RegistryUnavailable: pinging container registry"
    assert type(of_pull("a:1", Status.UNAVAILABLE, crio)) is RegistryUnreachable


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (GRPCError(Status.NOT_FOUND, None), NotThere),
        (FileNotFoundError(2, "no socket"), RuntimeAway),
        (ConnectionRefusedError(111, "nobody listens"), RuntimeAway),
        (BrokenPipeError(), RuntimeAway),
        (StreamTerminatedError("Connection lost"), RuntimeAway),
        (TimeoutError(), TookTooLong),
    ],
)
def test_nothing_that_the_connection_raises_gets_through(raised: Exception, kind: type) -> None:
    with pytest.raises(TemporaryError) as caught, translated("do it"):
        raise raised
    assert type(caught.value) is kind
    assert caught.value.__cause__ is raised


def test_cancelling_stays_cancelling() -> None:
    with pytest.raises(asyncio.CancelledError), translated_pull("a:1"):
        raise asyncio.CancelledError


def test_a_runtime_that_has_just_been_restarted_is_away() -> None:
    error = of_call("list", Status.UNKNOWN, "server is not initialized yet")
    assert type(error) is RuntimeAway


def test_an_answer_that_is_none_is_an_error_of_that_call() -> None:
    """One row of a foreign pod must not end the agent, again at every start."""
    with pytest.raises(TemporaryError, match="answer not understood"), translated("list"):
        cri.ListContainersResponse.FromString(b"\n\x03\n\x01\xff")
