"""What the pods layer sees of the list, and what counts as evidence that a pod may be stopped."""

from __future__ import annotations

from typing import Any

import pytest

from edgeagent.desired import Body, Desired, DesiredSet
from shared import codec
from shared.messages import Entry, Inventory
from shared.objects import Json, ObjectKey

WEB = ObjectKey("Pod", "default", "web")
CONF = ObjectKey("ConfigMap", "default", "conf")


def pod(uid: str = "u1", **fields: Any) -> Json:
    metadata = {"name": "web", "namespace": "default", "uid": uid}
    return {"metadata": metadata, "spec": {"containers": [{"name": "a"}]}, **fields}


def desired_of(
    revision: int, objects: dict[ObjectKey, Any], *, without: frozenset[ObjectKey] = frozenset()
) -> Desired:
    packed = {key: codec.pack(one) for key, one in objects.items()}
    entries = {key: Entry(codec.digest(one)) for key, one in packed.items()}
    bodies = {key: Body.of(one) for key, one in packed.items() if key not in without}
    return Desired().accept(Inventory(revision, entries), bodies)


def set_of(desired: Desired) -> DesiredSet:
    found = DesiredSet()
    found.replace(desired)
    return found


def test_pods_are_found_by_uid_and_objects_by_key() -> None:
    found = set_of(desired_of(1, {WEB: pod(), CONF: {"data": {"a": "b"}}}))
    assert {uid: one.key for uid, one in found.pods().items()} == {"u1": WEB}
    assert found.pods()["u1"].pod == pod()
    assert found.get(CONF) == {"data": {"a": "b"}}
    assert found.get(ObjectKey("Secret", "default", "conf")) is None


def test_subscribers_hear_what_changed_and_nothing_else() -> None:
    heard: list[frozenset[ObjectKey]] = []
    found = set_of(desired_of(1, {WEB: pod(), CONF: {"data": {}}}))
    found.subscribe(heard.append)
    found.replace(desired_of(2, {WEB: pod(), CONF: {"data": {"a": "1"}}}))
    found.replace(desired_of(3, {WEB: pod(), CONF: {"data": {"a": "1"}}}))
    found.replace(desired_of(4, {CONF: {"data": {"a": "1"}}}))
    assert heard == [{CONF}, {WEB}]
    assert not found.pods()


def test_a_deletion_alone_is_a_change() -> None:
    found = set_of(desired_of(1, {WEB: pod()}))
    marked = {key: Entry(one.digest, 30) for key, one in found.desired.inventory.entries.items()}
    assert found.replace(found.desired.accept(Inventory(2, marked), {})) == {WEB}
    assert found.pods()["u1"].grace == 30


# What may be stopped


def test_while_no_list_is_known_nothing_may_be_stopped() -> None:
    assert not DesiredSet().may_stop("u1", WEB)
    damaged = Desired(Inventory(0, {}), {})
    assert not set_of(damaged).may_stop("u1", WEB)


def test_what_a_valid_list_does_not_have_may_be_stopped() -> None:
    assert set_of(desired_of(1, {CONF: {}})).may_stop("u1", WEB)


def test_what_is_wanted_may_not_be_stopped() -> None:
    assert not set_of(desired_of(1, {WEB: pod()})).may_stop("u1", WEB)


def test_the_older_pod_of_a_name_may_be_stopped_when_the_newer_one_is_known() -> None:
    assert set_of(desired_of(1, {WEB: pod("u2")})).may_stop("u1", WEB)


def test_a_pod_whose_body_has_not_come_may_be_the_one_that_runs() -> None:
    assert not set_of(desired_of(1, {WEB: pod()}, without=frozenset({WEB}))).may_stop("u1", WEB)


def test_a_body_that_cannot_be_read_stops_nothing() -> None:
    assert not set_of(desired_of(1, {WEB: {"spec": 1}})).may_stop("u1", WEB)
    assert not set_of(desired_of(1, {WEB: pod(spec=None)})).may_stop("u1", WEB)


@pytest.mark.parametrize(
    ("body", "uid", "said"),
    [
        ([], "", "not an object"),
        ({"metadata": 5}, "", "not an object"),
        ({"metadata": {}}, "", "uid"),
        (pod("../etc"), "", "uid"),
        (pod("u" * 65), "", "uid"),
        ({"metadata": {**pod()["metadata"], "name": "other"}}, "u1", "another pod"),
        ({"metadata": {**pod()["metadata"], "labels": {"a": 1}}}, "u1", "labels"),
        (pod(spec=[]), "u1", "spec is not a map"),
        (pod(spec={}), "u1", "containers is empty"),
        (pod(spec={"containers": {"a": 1}}), "u1", "not a list of maps"),
        (pod(spec={"containers": [{"image": "x"}]}), "u1", "without a name"),
        (pod(spec={"containers": [{"name": "a"}, {"name": "a"}]}), "u1", "name of its own"),
        (pod(spec={"containers": [{"name": "a"}], "volumes": ["v"]}), "u1", "volumes"),
        (pod(spec={"containers": [{"name": "a"}], "dnsConfig": 1}), "u1", "dnsConfig"),
    ],
)
def test_a_body_that_is_no_pod_is_rejected_with_the_reason(body: Any, uid: str, said: str) -> None:
    found = set_of(desired_of(1, {WEB: body}))
    assert not found.pods()
    rejected = found.rejected()[WEB]
    assert rejected.uid == uid
    assert said in rejected.message
