"""The way down: from a pod in the API to the device, and nothing more than that."""

from __future__ import annotations

from cloudhub.kube.port import CLAIMS, CONFIG_MAPS, PODS, RUNTIME_CLASSES, VOLUMES
from shared.messages import Change
from tests.hub_delivery.world import NODE, World, config_key, in_world, pod_key, topics_of
from tests.parts.claims import bind, claim, volume_of


def env_from(name: str) -> list[dict]:
    return [{"name": "c", "envFrom": [{"configMapRef": {"name": name}}]}]


def test_a_pod_reaches_its_device_as_one_change() -> None:
    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        await world.quiet()
        await world.pod("web")
        sent = await world.quiet(0.2)
        assert topics_of(sent) == ["desired/Pod/default/web", "inventory", "change"]
        assert device.applied.entries.keys() == {pod_key("web")}
        assert not device.missing
        assert [message.topic for message in device.received] == [device.topics.change]

    in_world(story)


def test_a_pod_and_what_it_names_arrive_together() -> None:
    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        await world.config("settings", {"a": "1"})
        await world.quiet()
        await world.pod("web", containers=env_from("settings"))
        sent = await world.quiet(0.2)
        assert topics_of(sent).count("change") == 1
        assert device.applied.entries.keys() == {pod_key("web"), config_key("settings")}
        assert not device.missing

    in_world(story)


def test_a_status_patch_and_an_unnamed_object_send_nothing() -> None:
    async def story(world: World) -> None:
        world.hub()
        world.device()
        await world.pod("web")
        await world.quiet()
        await world.config("other", {"a": "1"})
        await world.kube.patch(
            PODS, "default", "web", {"status": {"phase": "Running"}}, subresource="status"
        )
        assert await world.quiet(60) == []

    in_world(story)


def test_a_config_map_that_comes_later_follows_its_pod() -> None:
    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        await world.pod("web", containers=env_from("settings"))
        await world.quiet()
        assert device.applied.entries.keys() == {pod_key("web")}
        await world.config("settings", {"a": "1"})
        sent = await world.quiet(0.2)
        assert "desired/Pod/default/web" not in topics_of(sent)
        assert device.applied.entries.keys() == {pod_key("web"), config_key("settings")}
        found = await world.kube.get(CONFIG_MAPS, "default", "settings")
        assert found is not None
        await world.kube.delete(
            CONFIG_MAPS, "default", "settings", uid=found["metadata"]["uid"], grace=0
        )
        sent = await world.quiet(0.2)
        assert topics_of(sent) == ["inventory", "change", "desired/ConfigMap/default/settings"]
        assert device.applied.entries.keys() == {pod_key("web")}

    in_world(story)


def test_a_pod_brings_its_runtime_class() -> None:
    async def story(world: World) -> None:
        made = {"metadata": {"name": "sandboxed"}, "handler": "runsc"}
        await world.kube.create(RUNTIME_CLASSES, "", made)
        world.hub()
        device = world.device()
        await world.quiet()
        await world.pod("web", runtimeClassName="sandboxed")
        sent = await world.quiet(0.2)
        assert topics_of(sent).count("change") == 1, "together"
        assert {str(key) for key in device.applied.entries} == {
            *("Pod/default/web", "RuntimeClass/-/sandboxed")
        }
        assert not device.missing
        labelled = {"metadata": {"labels": {"seen": "yes"}}}
        await world.kube.patch(RUNTIME_CLASSES, "", "sandboxed", labelled)
        assert await world.quiet(60) == []

    in_world(story)


def test_taints_of_a_node_reach_its_device_as_one_small_change() -> None:
    async def story(world: World) -> None:
        hub = world.hub()
        device = world.device()
        hub.sync.describe(NODE, [], {})
        await world.pod("web")
        await world.quiet()
        assert device.applied.entries.keys() == {pod_key("web")}, "without any it costs nothing"

        hub.sync.describe(NODE, [{"key": "example.com/maintenance", "effect": "NoExecute"}], {})
        sent = await world.quiet(0.2)
        assert topics_of(sent) == [f"desired/Node/-/{NODE}", "inventory", "change"]
        assert {str(key) for key in device.applied.entries} == {
            *("Pod/default/web", f"Node/-/{NODE}")
        }
        assert not device.missing
        assert len(sent[-1].payload) < 160, sent[-1].payload
        hub.sync.describe(NODE, [{"key": "example.com/maintenance", "effect": "NoExecute"}], {})
        assert await world.quiet(60) == []

        await hub.stop()
        again = world.hub("hub-b")
        again.sync.describe(NODE, [{"key": "example.com/maintenance", "effect": "NoExecute"}], {})
        assert topics_of(await world.quiet(60)) == ["hub"], "another hub says nothing new"

        again.sync.describe(NODE, [], {})
        await world.quiet(0.2)
        assert device.applied.entries.keys() == {pod_key("web")}

    in_world(story)


def test_a_claim_brings_its_volume_as_soon_as_it_is_bound() -> None:
    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        data = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
        await world.pod("web", volumes=[data])
        await world.quiet()
        assert device.applied.entries.keys() == {pod_key("web")}
        made = await claim(world.kube, "data")
        other = await claim(world.kube, "other")
        await bind(world.kube, other, volume_of("pv-2", {"local": {"path": "/b"}}))
        await world.quiet()
        assert {str(key) for key in device.applied.entries} == {
            *("Pod/default/web", "PersistentVolumeClaim/default/data")
        }
        await bind(world.kube, made, volume_of("pv-1", {"local": {"path": "/a"}}))
        sent = await world.quiet()
        assert "desired/PersistentVolume/-/pv-1" in topics_of(sent)
        assert {str(key) for key in device.applied.entries} == {
            *("Pod/default/web", "PersistentVolumeClaim/default/data", "PersistentVolume/-/pv-1")
        }
        assert not device.missing
        churn = {"status": {"capacity": {"storage": "2Gi"}, "conditions": [{"type": "Resizing"}]}}
        await world.kube.patch(CLAIMS, "default", "data", churn, subresource="status")
        phase = {"status": {"phase": "Bound", "message": "bound again"}}
        await world.kube.patch(VOLUMES, "", "pv-1", phase, subresource="status")
        assert await world.quiet(60) == []
        web = await world.kube.get(PODS, "default", "web")
        assert web is not None
        await world.kube.delete(PODS, "default", "web", uid=web["metadata"]["uid"], grace=0)
        await world.quiet()
        assert device.applied.entries == {}

    in_world(story)


def test_the_mark_of_a_deletion_carries_no_body() -> None:
    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        pod = await world.pod("web")
        await world.quiet()
        await world.kube.delete(PODS, "default", "web", uid=pod["metadata"]["uid"], grace=30)
        sent = await world.quiet(0.2)
        assert topics_of(sent) == ["inventory", "change"]
        assert Change.decode(sent[-1].payload).bodies == {}
        assert device.applied.entries[pod_key("web")].grace == 30

    in_world(story)


def test_a_node_gets_only_its_own() -> None:
    async def story(world: World) -> None:
        world.hub("hub-a", NODE, "edge-2")
        device, other = world.device(), world.device("edge-2")
        await world.secret("one", {"k": "1"})
        await world.secret("two", {"k": "2"})
        names = [{"name": "c", "envFrom": [{"secretRef": {"name": "one"}}]}]
        await world.pod("mine", containers=names)
        await world.pod("theirs", "edge-2")
        await world.pod("nobodys", "kubelet-1")
        await world.quiet()
        assert {str(key) for key in device.applied.entries} == {
            "Pod/default/mine",
            "Secret/default/one",
        }
        assert {str(key) for key in other.applied.entries} == {"Pod/default/theirs"}
        topics = " ".join(one.topic for one in world.sent)
        assert "two" not in topics and "nobodys" not in topics

    in_world(story)


def test_a_node_that_is_managed_later_gets_the_pods_it_had() -> None:
    async def story(world: World) -> None:
        hub = world.hub("hub-a", "edge-2")
        device = world.device()
        await world.pod("web")
        await world.quiet()
        assert device.applied.revision == 0
        hub.sync.manage(NODE)
        await world.quiet()
        assert device.applied.entries.keys() == {pod_key("web")}

    in_world(story)
