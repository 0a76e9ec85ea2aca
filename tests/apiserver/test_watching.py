"""Watches: from a version, by selector, with bookmarks, and what happens to late ones."""

from __future__ import annotations

import pytest

from tests.apiserver.api import Api, config_map, pod


async def test_a_watch_from_a_version_gives_every_change_after_it(api: Api) -> None:
    version = (await api.get("configmaps")).metadata["resourceVersion"]
    await api.created("configmaps", config_map(n="1"))
    await api.patch("configmaps/settings", {"data": {"n": "2"}})
    async with api.watch("configmaps", resourceVersion=version) as events:
        assert await events.take(2) == [("ADDED", "settings"), ("MODIFIED", "settings")]
        await api.delete("configmaps/settings")
        kind, gone = await events.next()
    assert kind == "DELETED" and gone["data"] == {"n": "2"}
    assert (gone["kind"], gone["apiVersion"]) == ("ConfigMap", "v1")


@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}])
async def test_a_watch_from_nowhere_starts_with_what_there_is(
    api: Api, query: dict[str, str]
) -> None:
    for name in ("a", "b"):
        await api.created("configmaps", config_map(name, {"mine": "yes"}))
    async with api.watch("configmaps", labelSelector="mine", **query) as events:
        assert sorted(await events.take(2)) == [("ADDED", "a"), ("ADDED", "b")]


async def test_an_object_that_leaves_or_enters_the_selector_goes_and_comes(api: Api) -> None:
    version = (await api.get("configmaps")).metadata["resourceVersion"]
    await api.created("configmaps", config_map(labels={"on": "no"}))
    async with api.watch("configmaps", resourceVersion=version, labelSelector="on=yes") as events:
        for value in ("yes", "yes!", "no", "yes"):
            change = {"metadata": {"labels": {"on": value.strip("!")}}, "data": {"n": value}}
            await api.patch("configmaps/settings", change)
        kinds = [(await events.next())[0] for _ in range(4)]
    assert kinds == ["ADDED", "MODIFIED", "DELETED", "ADDED"]


async def test_pods_of_one_node_are_watched_by_field(api: Api) -> None:
    version = (await api.get("pods")).metadata["resourceVersion"]
    await api.created("pods", pod("other", nodeName="edge-2"))
    await api.created("pods", pod("mine"))
    selector = "spec.nodeName=edge-1"
    async with api.watch("pods", resourceVersion=version, fieldSelector=selector) as events:
        assert await events.take(1) == [("ADDED", "mine")]


async def test_binding_a_pod_adds_it_to_the_watch_of_its_node(api: Api) -> None:
    version = (await api.get("pods")).metadata["resourceVersion"]
    await api.created("pods", pod(nodeName=None))
    query = {"resourceVersion": version, "fieldSelector": "spec.nodeName=edge-1"}
    async with api.watch("pods", **query) as events:
        binding = {"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "edge-1"}}
        assert (await api.post("pods/web/binding", binding)).code == 201
        kind, bound = await events.next()
    assert (kind, bound["spec"]["nodeName"]) == ("ADDED", "edge-1")


async def test_a_watch_ends_when_its_time_is_over_and_a_bookmark_says_how_far_it_came(
    api: Api,
) -> None:
    created = await api.created("configmaps", config_map())
    version = created["metadata"]["resourceVersion"]
    query = {"timeoutSeconds": "3", "allowWatchBookmarks": "true", "resourceVersion": version}
    async with api.watch("configmaps", **query) as events:
        rest = await events.rest()
    marks = [obj for kind, obj in rest if kind == "BOOKMARK"]
    assert all(int(obj["metadata"]["resourceVersion"]) >= int(version) for obj in marks)
    assert all(obj["kind"] == "ConfigMap" for obj in marks)
    assert {kind for kind, _ in rest} <= {"BOOKMARK"}


async def test_metadata_only_watches_carry_no_data(api: Api) -> None:
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
    version = (await api.get("secrets")).metadata["resourceVersion"]
    async with api.watch("secrets", accept=accept, resourceVersion=version) as events:
        await api.created("secrets", {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
        kind, obj = await events.next()
    assert (kind, obj["kind"], obj["apiVersion"]) == (
        "ADDED",
        "PartialObjectMetadata",
        "meta.k8s.io/v1",
    )
    assert obj["metadata"]["name"] == "s" and "data" not in obj and "type" not in obj


async def test_a_watch_of_tables_gives_a_row_for_each_event(api: Api) -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    version = (await api.get("configmaps")).metadata["resourceVersion"]
    query = {"labelSelector": "mine", "resourceVersion": version}
    async with api.watch("configmaps", accept=accept, **query) as events:
        await api.created("configmaps", config_map("one", {"mine": "yes"}, a="1", b="2"))
        kind, table = await events.next()
    assert (kind, table["kind"]) == ("ADDED", "Table")
    assert table["rows"][0]["cells"][:2] == ["one", 2]
    assert table["rows"][0]["object"]["metadata"]["name"] == "one"


async def test_events_of_one_object_come_in_both_groups(api: Api) -> None:
    path = f"/apis/events.k8s.io/v1/namespaces/{api.namespace}/events"
    if api.cluster.minor < 19:
        pytest.skip("this server has no events.k8s.io/v1")
    body = {
        "metadata": {"name": "web.1"},
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": api.namespace},
        "reason": "Pulled",
        "message": "done",
        "type": "Normal",
        "source": {"component": "edge"},
        "firstTimestamp": "2026-01-02T03:04:05Z",
        "lastTimestamp": "2026-01-02T03:04:05Z",
        "count": 1,
    }
    async with api.watch(path) as events:
        await api.created("events", body)
        kind, event = await events.next()
    assert (kind, event["note"], event["regarding"]["name"]) == ("ADDED", "done", "web")
    for selector in ("involvedObject.name=web", "reason=Pulled,type=Normal", "source=edge"):
        assert (await api.get("events", fieldSelector=selector)).names == ["web.1"], selector
    assert (await api.get("events", fieldSelector="involvedObject.kind=Node")).names == []
