"""What the hub relies on in an API server, held against the model and every server at hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from cloudhub.kube.port import (
    CLAIMS,
    CONFIG_MAPS,
    LEASES,
    NODES,
    PODS,
    RUNTIME_CLASSES,
    SERVICE_ACCOUNTS,
    VOLUMES,
    Change,
    Kube,
    WatchEvent,
)
from cloudhub.tokens import order, token_of
from shared.asking import TokenRequest
from shared.clock import SystemClock
from shared.errors import KubeRefused
from shared.objects import Json
from tests.parts.claims import bind, claim, here, volume_of


def pod(name: str, node: str = "", **metadata: Any) -> Json:
    container = {"name": "app", "image": "busybox"}
    spec: Json = {"containers": [container], "terminationGracePeriodSeconds": 30}
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name, **metadata}, "spec": spec}


def config(name: str, **data: str) -> Json:
    return {"metadata": {"name": name}, "data": data}


class Watched:
    """A running watch as short words: ``LISTED a b``, ``SET a``, ``DELETED a``."""

    def __init__(self, events: AsyncIterator[WatchEvent]) -> None:
        self._events = events
        self.last: WatchEvent | None = None

    async def next(self) -> str:
        async with asyncio.timeout(10):
            self.last = found = await anext(self._events)
        objects = found.objects if found.change is Change.LISTED else (found.object,)
        return " ".join([found.change.value, *sorted(obj["metadata"]["name"] for obj in objects)])

    async def until(self, word: str) -> None:
        while await self.next() != word:
            pass


@pytest.fixture
async def watched(kube: Kube) -> AsyncIterator[Any]:
    """Starts watches that end with the test."""
    opened = []

    def start(*arguments: Any, **options: Any) -> Watched:
        opened.append(kube.watch(*arguments, **options))
        return Watched(opened[-1])

    yield start
    for events in opened:
        async with aclosing(events):  # type: ignore[type-var]
            pass


async def test_what_is_created_can_be_read_and_listed(kube: Kube, namespace: str) -> None:
    made = await kube.create(CONFIG_MAPS, namespace, config("a", x="1"))
    assert made["metadata"]["uid"] and made["metadata"]["resourceVersion"]
    assert made["metadata"]["namespace"] == namespace
    found = await kube.get(CONFIG_MAPS, namespace, "a")
    assert found is not None and found["data"] == {"x": "1"}
    names = [obj["metadata"]["name"] for obj in await kube.list(CONFIG_MAPS, namespace=namespace)]
    assert "a" in names


async def test_what_is_not_there_is_none(kube: Kube, namespace: str) -> None:
    assert await kube.get(CONFIG_MAPS, namespace, "nothing") is None


async def test_a_taken_name_is_refused(kube: Kube, namespace: str) -> None:
    await kube.create(CONFIG_MAPS, namespace, config("a"))
    with pytest.raises(KubeRefused) as caught:
        await kube.create(CONFIG_MAPS, namespace, config("a"))
    assert (caught.value.status, caught.value.reason) == (409, "AlreadyExists")


async def test_a_token_is_for_an_account_and_bound_to_a_pod(kube: Kube, namespace: str) -> None:
    await kube.create(SERVICE_ACCOUNTS, namespace, {"metadata": {"name": "robot"}})
    spec = {**pod("web")["spec"], "serviceAccountName": "robot"}
    made = await kube.create(PODS, namespace, {"metadata": {"name": "web"}, "spec": spec})
    request = TokenRequest.of(made, audience="", seconds=600)
    answer = await kube.create(SERVICE_ACCOUNTS, namespace, order(request), subresource="token")
    found = token_of(answer, SystemClock().now())
    assert found.token
    assert 500 <= found.life <= 600
    again = await kube.create(SERVICE_ACCOUNTS, namespace, order(request), subresource="token")
    assert token_of(again, SystemClock().now()).life > 500


async def test_a_token_for_nobody_is_not_found(kube: Kube, namespace: str) -> None:
    made = await kube.create(PODS, namespace, pod("web"))
    request = TokenRequest.of(made, audience="", seconds=600)
    wish = {**order(request), "metadata": {"name": "nobody"}}
    with pytest.raises(KubeRefused) as caught:
        await kube.create(SERVICE_ACCOUNTS, namespace, wish, subresource="token")
    assert caught.value.status == 404


async def test_a_write_over_a_newer_version_is_a_conflict(kube: Kube, namespace: str) -> None:
    old = await kube.create(CONFIG_MAPS, namespace, config("a", x="1"))
    await kube.replace(CONFIG_MAPS, namespace, {**old, "data": {"x": "2"}})
    with pytest.raises(KubeRefused) as caught:
        await kube.replace(CONFIG_MAPS, namespace, {**old, "data": {"x": "3"}})
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")


async def test_a_patch_of_a_newer_version_is_a_conflict(kube: Kube, namespace: str) -> None:
    old = await kube.create(CONFIG_MAPS, namespace, config("a", x="1"))
    version = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}}
    await kube.patch(CONFIG_MAPS, namespace, "a", {**version, "data": {"x": "2"}})
    with pytest.raises(KubeRefused) as caught:
        await kube.patch(CONFIG_MAPS, namespace, "a", {**version, "data": {"x": "3"}})
    assert caught.value.status == 409


async def test_a_patch_for_another_uid_is_refused(kube: Kube, namespace: str) -> None:
    await kube.create(CONFIG_MAPS, namespace, config("a", x="1"))
    other = {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}, "data": {"x": "2"}}
    with pytest.raises(KubeRefused) as caught:
        await kube.patch(CONFIG_MAPS, namespace, "a", other)
    assert caught.value.status in (409, 422), "1.20 calls it invalid"
    found = await kube.get(CONFIG_MAPS, namespace, "a")
    assert found is not None and found["data"] == {"x": "1"}


async def test_a_patch_of_nothing_is_not_found(kube: Kube, namespace: str) -> None:
    with pytest.raises(KubeRefused) as caught:
        await kube.patch(LEASES, namespace, "nothing", {"spec": {"holderIdentity": "x"}})
    assert caught.value.status == 404


async def test_a_merge_patch_sets_and_removes(kube: Kube, namespace: str) -> None:
    await kube.create(CONFIG_MAPS, namespace, config("a", x="1", y="2"))
    after = await kube.patch(CONFIG_MAPS, namespace, "a", {"data": {"x": None, "z": "3"}})
    assert after["data"] == {"y": "2", "z": "3"}


async def test_a_patch_that_changes_nothing_makes_no_version(kube: Kube, namespace: str) -> None:
    made = await kube.create(CONFIG_MAPS, namespace, config("a", x="1"))
    after = await kube.patch(CONFIG_MAPS, namespace, "a", {"data": {"x": "1"}})
    assert after["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_lease_keeps_its_times(kube: Kube, namespace: str) -> None:
    spec = {"holderIdentity": "n", "leaseDurationSeconds": 40}
    await kube.create(LEASES, namespace, {"metadata": {"name": "n"}, "spec": spec})
    renewed = {"spec": {"renewTime": "2026-01-01T00:00:00.250000Z"}}
    after = await kube.patch(LEASES, namespace, "n", renewed)
    assert after["spec"] == {**spec, **renewed["spec"]}


async def test_status_and_the_rest_are_written_apart(kube: Kube, namespace: str) -> None:
    await kube.create(PODS, namespace, pod("web", "n1"))
    told = {"status": {"phase": "Running"}, "spec": {"nodeName": "n2"}}
    after = await kube.patch(PODS, namespace, "web", told, subresource="status")
    assert after["status"]["phase"] == "Running"
    assert after["spec"]["nodeName"] == "n1"
    label = {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Failed"}}
    after = await kube.patch(PODS, namespace, "web", label)
    assert after["metadata"]["labels"] == {"a": "b"}
    assert after["status"]["phase"] == "Running"


async def test_a_pod_begins_pending_whatever_it_says(kube: Kube, namespace: str) -> None:
    made = await kube.create(PODS, namespace, {**pod("web"), "status": {"phase": "Running"}})
    assert made["status"]["phase"] == "Pending"


async def test_a_node_may_be_born_with_its_status(kube: Kube, node_name: str) -> None:
    made = await kube.create(
        NODES, "", {"metadata": {"name": node_name}, "status": {"capacity": {"cpu": "4"}}}
    )
    assert made["status"]["capacity"] == {"cpu": "4"}


async def test_a_strategic_patch_merges_conditions_by_type(kube: Kube, node_name: str) -> None:
    foreign = {"type": "NetworkUnavailable", "status": "False", "reason": "CNI"}
    ready = {"type": "Ready", "status": "True", "reason": "Old"}
    status: Json = {"conditions": [foreign, ready], "capacity": {"cpu": "4", "old": "1"}}
    status["addresses"] = [{"type": "InternalIP", "address": "10.0.0.1"}]
    await kube.create(NODES, "", {"metadata": {"name": node_name}, "status": status})
    change = {
        "conditions": [{"type": "Ready", "status": "Unknown", "reason": "New"}],
        "capacity": {"old": None, "cpu": "8"},
        "addresses": [
            {"type": "InternalIP", "address": "10.0.0.2"},
            {"type": "InternalIP", "address": "fd00::2"},
            {"$patch": "replace"},
        ],
    }
    after = await kube.patch(
        *(NODES, "", node_name, {"status": change}),
        subresource="status",
        patch_type="strategic",
    )
    conditions = {row["type"]: row["reason"] for row in after["status"]["conditions"]}
    assert conditions == {"NetworkUnavailable": "CNI", "Ready": "New"}
    assert after["status"]["capacity"] == {"cpu": "8"}
    found = [row["address"] for row in after["status"]["addresses"]]
    assert found == ["10.0.0.2", "fd00::2"]


async def test_a_claim_is_followed_to_the_volume_that_it_is_bound_to(
    kube: Kube, namespace: str, watched: Any
) -> None:
    """The volume belongs to no namespace; the watches tell of both that they changed."""
    claims = watched(CLAIMS, namespace=namespace, metadata_only=True)
    volumes = watched(VOLUMES, metadata_only=True)
    await claims.until("LISTED")
    assert (await volumes.next()).startswith("LISTED")
    made = await claim(kube, "data", namespace=namespace)
    await claims.until("SET data")
    name = f"pv-{namespace}"
    local = volume_of(name, {"local": {"path": "/mnt/disk"}}, nodeAffinity=here("edge-1"))
    await bind(kube, made, local)
    await volumes.until(f"SET {name}")
    assert volumes.last is not None and "spec" not in volumes.last.object
    assert "namespace" not in volumes.last.object["metadata"]
    await claims.until("SET data")
    found = await kube.get(CLAIMS, namespace, "data")
    assert found is not None
    assert (found["spec"]["volumeName"], found["status"]["phase"]) == (name, "Bound")
    volume = await kube.get(VOLUMES, "", name)
    assert volume is not None
    assert volume["spec"]["local"] == {"path": "/mnt/disk"}
    assert volume["spec"]["claimRef"]["uid"] == found["metadata"]["uid"]
    assert volume["spec"]["nodeAffinity"] == here("edge-1")


async def test_a_runtime_class_belongs_to_no_namespace(
    kube: Kube, namespace: str, watched: Any
) -> None:
    classes = watched(RUNTIME_CLASSES, metadata_only=True)
    assert (await classes.next()).startswith("LISTED")
    name = f"class-{namespace}"
    await kube.create(RUNTIME_CLASSES, "", {"metadata": {"name": name}, "handler": "runsc"})
    await classes.until(f"SET {name}")
    assert classes.last is not None and "handler" not in classes.last.object
    found = await kube.get(RUNTIME_CLASSES, "", name)
    assert found is not None and found["handler"] == "runsc"


async def test_a_deletion_meant_for_another_object_does_nothing(kube: Kube, namespace: str) -> None:
    made = await kube.create(CONFIG_MAPS, namespace, config("a"))
    other = "00000000-0000-0000-0000-000000000000"
    await kube.delete(CONFIG_MAPS, namespace, "a", uid=other, grace=0)
    assert await kube.get(CONFIG_MAPS, namespace, "a") is not None
    await kube.delete(CONFIG_MAPS, namespace, "a", uid=made["metadata"]["uid"], grace=0)
    assert await kube.get(CONFIG_MAPS, namespace, "a") is None
    await kube.delete(CONFIG_MAPS, namespace, "a", uid=made["metadata"]["uid"], grace=0)


async def test_a_bound_pod_is_marked_first_and_gone_with_grace_zero(
    kube: Kube, namespace: str
) -> None:
    made = await kube.create(PODS, namespace, pod("web", "n1"))
    uid = made["metadata"]["uid"]
    await kube.delete(PODS, namespace, "web", uid=uid, grace=30)
    marked = await kube.get(PODS, namespace, "web")
    assert marked is not None
    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    await kube.delete(PODS, namespace, "web", uid=uid, grace=0)
    assert await kube.get(PODS, namespace, "web") is None


async def test_a_pod_without_a_node_is_gone_at_once(kube: Kube, namespace: str) -> None:
    made = await kube.create(PODS, namespace, pod("web"))
    await kube.delete(PODS, namespace, "web", uid=made["metadata"]["uid"], grace=30)
    assert await kube.get(PODS, namespace, "web") is None


async def test_a_watch_lists_and_then_tells_each_change(
    kube: Kube, namespace: str, watched: Any
) -> None:
    await kube.create(PODS, namespace, pod("a", "n1"))
    watch = watched(PODS, namespace=namespace)
    assert await watch.next() == "LISTED a"
    made = await kube.create(PODS, namespace, pod("b", "n1"))
    assert await watch.next() == "SET b"
    await kube.patch(PODS, namespace, "b", {"metadata": {"labels": {"x": "y"}}})
    assert await watch.next() == "SET b"
    assert watch.last.object["metadata"]["labels"] == {"x": "y"}
    await kube.delete(PODS, namespace, "b", uid=made["metadata"]["uid"], grace=0)
    await watch.until("DELETED b")


async def test_a_watch_says_up_to_which_version_it_has_told_everything(
    kube: Kube, namespace: str, watched: Any
) -> None:
    """Of all objects of the kind there is one order, whoever asks; an end has a place in it too."""

    async def reached(word: str) -> int:
        await watch.until(word)
        return int(watch.last.version)

    first = await kube.create(PODS, namespace, pod("a", "n1"))
    watch = watched(PODS, namespace=namespace)
    listed = await reached("LISTED a")
    assert listed >= int(first["metadata"]["resourceVersion"])
    other = await kube.create(CONFIG_MAPS, namespace, config("a"))
    made = await kube.create(PODS, namespace, pod("b", "n1"))
    created = await reached("SET b")
    assert created == int(made["metadata"]["resourceVersion"])
    assert listed < int(other["metadata"]["resourceVersion"]) < created
    await kube.delete(PODS, namespace, "b", uid=made["metadata"]["uid"], grace=0)
    ended = await reached("DELETED b")
    assert ended == int(watch.last.object["metadata"]["resourceVersion"])
    later = await kube.create(PODS, namespace, pod("c", "n1"))
    assert created < ended < int(later["metadata"]["resourceVersion"])


async def test_a_watch_sees_only_what_its_selectors_take(
    kube: Kube, namespace: str, watched: Any
) -> None:
    watch = watched(PODS, namespace=namespace, field_selector="spec.nodeName=n1")
    labelled = watched(PODS, namespace=namespace, label_selector="app=web,tier")
    assert await watch.next() == "LISTED"
    assert await labelled.next() == "LISTED"
    await kube.create(PODS, namespace, pod("other", "n2"))
    await kube.create(PODS, namespace, pod("mine", "n1", labels={"app": "web", "tier": "x"}))
    assert await watch.next() == "SET mine"
    assert await labelled.next() == "SET mine"


async def test_an_object_that_leaves_the_selection_is_deleted_for_the_watch(
    kube: Kube, namespace: str, watched: Any
) -> None:
    await kube.create(CONFIG_MAPS, namespace, {"metadata": {"name": "a", "labels": {"on": "1"}}})
    watch = watched(CONFIG_MAPS, namespace=namespace, label_selector="on")
    assert await watch.next() == "LISTED a"
    await kube.patch(CONFIG_MAPS, namespace, "a", {"metadata": {"labels": {"on": None}}})
    assert await watch.next() == "DELETED a"
    await kube.patch(CONFIG_MAPS, namespace, "a", {"metadata": {"labels": {"on": "2"}}})
    assert await watch.next() == "SET a"


async def test_metadata_only_brings_no_data(kube: Kube, namespace: str, watched: Any) -> None:
    await kube.create(CONFIG_MAPS, namespace, config("a", secret="1"))
    watch = watched(
        *(CONFIG_MAPS,),
        namespace=namespace,
        field_selector="metadata.name=a",
        metadata_only=True,
    )
    assert await watch.next() == "LISTED a"
    assert all("data" not in one for one in watch.last.objects)
    await kube.patch(CONFIG_MAPS, namespace, "a", {"data": {"secret": "2"}})
    assert await watch.next() == "SET a"
    assert "data" not in watch.last.object
    assert watch.last.object["metadata"]["resourceVersion"]


async def test_a_list_of_many_pages_is_complete(kube: Kube, namespace: str) -> None:
    made = [kube.create(CONFIG_MAPS, namespace, config(f"c{i:04}")) for i in range(620)]
    await asyncio.gather(*made)
    found = await kube.list(CONFIG_MAPS, namespace=namespace, label_selector="!absent")
    names = {obj["metadata"]["name"] for obj in found}
    assert {f"c{i:04}" for i in range(620)} <= names
