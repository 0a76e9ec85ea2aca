"""Container statuses say what is mounted where, though no device sends it."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from cloudhub.reporting.mounted import with_mounts
from cloudhub.reporting.pod_status import OWNED
from shared.objects import Json
from tests.hub_reporting.test_pod_status import hostile

DATA: Json = {"name": "data", "mountPath": "/data"}
TOKEN: Json = {"name": "token", "mountPath": "/var/run/secrets", "readOnly": True}
POD: Json = {
    "spec": {
        "containers": [
            {"name": "app", "volumeMounts": [{**DATA, "subPath": "x"}, TOKEN]},
            {"name": "bare"},
        ],
        "initContainers": [
            {"name": "first", "volumeMounts": [{**TOKEN, "recursiveReadOnly": "Enabled"}]}
        ],
        "ephemeralContainers": [
            {"name": "debug", "volumeMounts": [{**TOKEN, "recursiveReadOnly": "IfPossible"}]}
        ],
    }
}


def test_every_container_says_its_mounts() -> None:
    status = {
        "phase": "Running",
        "containerStatuses": [{"name": "app"}, {"name": "bare"}, {"name": "unknown"}],
        "initContainerStatuses": [{"name": "first"}],
        "ephemeralContainerStatuses": [{"name": "debug"}],
    }
    said = with_mounts(status, POD)
    app, bare, unknown = said["containerStatuses"]
    assert app["volumeMounts"] == [DATA, {**TOKEN, "recursiveReadOnly": "Disabled"}]
    assert bare == {"name": "bare"}
    assert unknown == {"name": "unknown"}
    [first] = said["initContainerStatuses"]
    assert first["volumeMounts"] == [{**TOKEN, "recursiveReadOnly": "Enabled"}]
    [debug] = said["ephemeralContainerStatuses"]
    assert debug["volumeMounts"] == [TOKEN]
    assert "volumeMounts" not in status["containerStatuses"][0], "the report stays as it was"


def test_how_a_mount_is_that_may_be_recursively_read_only_is_said_by_its_device() -> None:
    path = TOKEN["mountPath"]
    for group, name, mode in (
        ("ephemeralContainerStatuses", "debug", "Enabled"),
        ("ephemeralContainerStatuses", "debug", "Disabled"),
        ("initContainerStatuses", "first", "Disabled"),
    ):
        mounts = [{"mountPath": path, "recursiveReadOnly": mode}]
        said = with_mounts({group: [{"name": name, "volumeMounts": mounts}]}, POD)
        assert said[group][0]["volumeMounts"] == [{**TOKEN, "recursiveReadOnly": mode}]


def test_a_device_says_nothing_of_mounts_that_the_spec_decides() -> None:
    lies: list[Json] = [
        {"mountPath": TOKEN["mountPath"], "recursiveReadOnly": "Enabled"},
        {"mountPath": DATA["mountPath"], "recursiveReadOnly": "Enabled", "readOnly": True},
        {"mountPath": "/etc", "name": "more", "recursiveReadOnly": "Disabled"},
    ]
    said = with_mounts({"containerStatuses": [{"name": "app", "volumeMounts": lies}]}, POD)
    (app,) = said["containerStatuses"]
    assert app["volumeMounts"] == [DATA, {**TOKEN, "recursiveReadOnly": "Disabled"}]
    odd: list[Json] = [{"mountPath": TOKEN["mountPath"], "recursiveReadOnly": "Maybe"}]
    said = with_mounts(
        {"ephemeralContainerStatuses": [{"name": "debug", "volumeMounts": odd}]}, POD
    )
    assert said["ephemeralContainerStatuses"][0]["volumeMounts"] == [TOKEN]


@given(hostile)
def test_a_hostile_status_stays_what_it_is(value: Any) -> None:
    for field in OWNED:
        said = with_mounts({field: value}, POD)
        assert set(said) == {field}
        assert isinstance(said[field], type(value))
    said = with_mounts({"containerStatuses": [{"name": "app", "volumeMounts": value}]}, POD)
    (app,) = said["containerStatuses"]
    assert app["volumeMounts"] == [DATA, {**TOKEN, "recursiveReadOnly": "Disabled"}]
