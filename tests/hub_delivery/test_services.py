"""Services on their way down: what containers get variables of, and nothing else of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from cloudhub.kube.memory import MemoryKube
from cloudhub.kube.port import PODS, SERVICES, Resource, WatchEvent
from shared.messages import Change
from shared.objects import Json, ObjectKey
from tests.hub_delivery.world import NODE, World, in_world, pod_key, topics_of

HTTP = {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}


def key(name: str, namespace: str = "default") -> ObjectKey:
    return ObjectKey("Service", namespace, name)


async def service(world: World, name: str, ip: str, *, namespace: str = "default") -> Json:
    spec = {"clusterIP": ip, "clusterIPs": [ip], "type": "ClusterIP", "selector": {"app": name}}
    return await world.kube.create(
        SERVICES, namespace, {"metadata": {"name": name}, "spec": {**spec, "ports": [HTTP]}}
    )


async def change(world: World, name: str, **patch: Any) -> list[str]:
    """What is published because of it."""
    await world.kube.patch(SERVICES, "default", name, patch)
    return topics_of(await world.quiet(60))


def listed(world: World) -> set[ObjectKey]:
    return {one for one in world.devices[NODE].applied.entries if one.kind == "Service"}


def test_a_pod_brings_the_services_of_its_namespace_and_takes_them_along() -> None:
    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        await service(world, "db", "10.96.0.7")
        await service(world, "far", "10.96.0.8", namespace="other")
        assert topics_of(await world.quiet()) == ["hub", "session"]
        pod = await world.pod("web")
        assert topics_of(await world.quiet()) == [
            *("desired/Pod/default/web", "desired/Service/default/db", "inventory", "change")
        ]
        assert device.applied.entries.keys() == {pod_key("web"), key("db")}
        assert device.body(key("db")) == {
            "spec": {"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80}]}
        }
        await world.kube.delete(PODS, "default", "web", uid=pod["metadata"]["uid"], grace=0)
        await world.quiet()
        assert device.applied.entries == {}

    in_world(story)


def test_every_node_has_the_api_servers_own_service_once_and_for_all() -> None:
    """So that the first pod of a node costs no more than the others."""

    async def story(world: World) -> None:
        world.hub()
        await service(world, "kubernetes", "10.96.0.1")
        world.device()
        await world.quiet()
        assert listed(world) == {key("kubernetes")}
        await world.pod("web")
        assert "desired/Service/default/kubernetes" not in topics_of(await world.quiet())

    in_world(story)


def test_without_service_links_a_pod_brings_none() -> None:
    async def story(world: World) -> None:
        world.hub()
        world.device()
        await service(world, "kubernetes", "10.96.0.1")
        await service(world, "db", "10.96.0.7")
        await world.pod("web", enableServiceLinks=False)
        await world.quiet()
        assert listed(world) == {key("kubernetes")}
        await world.pod("linked")
        await world.quiet()
        assert listed(world) == {key("kubernetes"), key("db")}

    in_world(story)


def test_services_without_an_address_are_left_out() -> None:
    async def story(world: World) -> None:
        world.hub()
        world.device()
        await world.pod("web")
        await service(world, "headless", "None")
        await service(world, "pending", "")
        await world.quiet()
        assert listed(world) == set()
        assert await change(world, "pending", spec={"clusterIP": "10.96.0.9"}) != []
        assert listed(world) == {key("pending")}

    in_world(story)


def test_only_what_containers_see_of_a_service_travels() -> None:
    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        await service(world, "db", "10.96.0.7")
        await world.pod("web")
        await world.quiet()
        unseen: list[Json] = [
            {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}},
            {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}},
            {"spec": {"selector": {"app": "other"}, "type": "NodePort"}},
            {"spec": {"ports": [{**HTTP, "nodePort": 30001, "targetPort": 9}]}},
        ]
        for patch in unseen:
            assert await change(world, "db", **patch) == [], patch
        device.received.clear()
        sent = await change(world, "db", spec={"ports": [{**HTTP, "port": 81}]})
        assert sent == ["desired/Service/default/db", "inventory", "change"]
        (message,) = device.received
        assert len(message.payload) < 120
        assert Change.decode(message.payload).put.keys() == {key("db")}

    in_world(story)


class Blind(MemoryKube):
    """An API server that never says which Services there are: an older role, for instance."""

    def __init__(self, other: MemoryKube) -> None:
        self.__dict__ = other.__dict__

    async def watch(self, resource: Resource, **options: Any) -> AsyncIterator[WatchEvent]:
        if resource == SERVICES:
            await asyncio.get_running_loop().create_future()
        async for event in super().watch(resource, **options):
            yield event


def test_who_does_not_know_the_services_leaves_them_as_they_are_and_sends_pods() -> None:
    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        await service(world, "kubernetes", "10.96.0.1")
        await service(world, "db", "10.96.0.7")
        await world.pod("web")
        await world.quiet()
        await world.hubs[0].stop()
        world.hub("hub-b", kube=Blind(world.kube))
        await world.pod("later")
        sent = topics_of(await world.quiet())
        assert [one for one in sent if "Service" in one] == []
        assert device.applied.entries.keys() == {
            *(pod_key("web"), pod_key("later"), key("db"), key("kubernetes"))
        }

    in_world(story)


def test_a_hub_restart_sends_no_service_again() -> None:
    async def story(world: World) -> None:
        world.hub()
        world.device()
        await service(world, "kubernetes", "10.96.0.1")
        await service(world, "db", "10.96.0.7")
        await world.pod("web")
        await world.quiet()
        await world.hubs[0].stop()
        world.hub("hub-b")
        assert set(topics_of(await world.quiet(60))) <= {"hub"}

    in_world(story)


def test_a_service_that_is_deleted_is_taken_from_the_list() -> None:
    async def story(world: World) -> None:
        world.hub()
        world.device()
        made = await service(world, "db", "10.96.0.7")
        await world.pod("web")
        await world.quiet()
        await world.kube.delete(SERVICES, "default", "db", uid=made["metadata"]["uid"], grace=0)
        await world.quiet()
        assert listed(world) == set()
        world.kube.break_watches()
        await service(world, "db", "10.96.0.8")
        world.kube.break_watches()
        await world.quiet()
        assert listed(world) == {key("db")}

    in_world(story)
