"""The image registry that pull tests stand on."""

from __future__ import annotations

import http.client
from collections.abc import Callable

import pytest

from tests.parts.images import ImageSpec
from tests.parts.registry import Registry

NewRegistry = Callable[..., Registry]


def status(registry: Registry, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", registry.port, timeout=10)
    connection.request("GET", path)
    code = connection.getresponse().status
    connection.close()
    return code


def test_serves_what_was_pushed(new_registry: NewRegistry) -> None:
    registry = new_registry()
    assert registry.push("team/app", "1", ImageSpec("app")) == f"{registry.host}/team/app:1"
    assert status(registry, "/v2/team/app/tags/list") == 200
    assert status(registry, "/v2/other/app/tags/list") == 404


def test_with_a_login_nobody_else_may_read(new_registry: NewRegistry) -> None:
    registry = new_registry("me", "secret")
    registry.push("app", "1", ImageSpec("app"))
    assert status(registry, "/v2/app/tags/list") == 401


def test_a_stopped_registry_is_away(new_registry: NewRegistry) -> None:
    registry = new_registry()
    registry.stop()
    with pytest.raises(ConnectionRefusedError):
        status(registry, "/v2/")
