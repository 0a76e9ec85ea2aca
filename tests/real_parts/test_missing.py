"""A part that is not there is a skip that says how to get it, and in CI some are an error."""

from __future__ import annotations

import pytest

from tests.parts.missing import need


def test_a_missing_part_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no teapot: kettle not found.*tea-tools"):
        need("teapot", "kettle", packages="tea-tools")


def test_in_ci_the_broker_and_the_runtime_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    for part in ("mosquitto", "containerd"):
        with pytest.raises(pytest.fail.Exception, match=f"CI must have {part}"):
            need(part, "not-installed", packages=part)
    with pytest.raises(pytest.skip.Exception):
        need("registry", "not-installed", packages="docker-registry")


def test_what_is_there_is_no_skip() -> None:
    need("shell", "sh", packages="dash")
