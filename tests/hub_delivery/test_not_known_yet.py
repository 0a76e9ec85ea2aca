"""Objects that the hub may not read, or does not know yet: a device loses nothing for that."""

from __future__ import annotations

import pytest

from cloudhub.kube.port import (
    RUNTIME_CLASSES,
    SECRETS,
    Resource,
)
from shared.errors import KubeError, KubeRefused
from shared.objects import ObjectKey
from tests.hub_delivery.in_step import RUNTIME_CLASS, of_node, settled
from tests.hub_delivery.world import NODE, World, in_world, pod_key, topics_of


def test_a_secret_that_may_not_be_read_is_not_taken_from_the_device() -> None:
    """Not knowing an object is not its absence."""

    async def story(world: World) -> None:
        world.hub()
        device = world.device()
        await world.secret("password", {"p": "1"})
        names = [{"name": "c", "envFrom": [{"secretRef": {"name": "password"}}]}]
        await world.pod("web", containers=names)
        await world.quiet()
        secret = ObjectKey("Secret", "default", "password")
        assert secret in device.applied.entries

        def forbid(verb: str, resource: Resource, name: str) -> None:
            if verb == "get" and resource is SECRETS:
                raise KubeRefused("secrets is forbidden", status=403, reason="Forbidden")

        world.kube.fail = forbid
        await world.hubs[0].stop()
        world.hub("hub-b")
        await world.pod("second")
        await world.quiet(60)
        assert device.applied.entries.keys() == {pod_key("web"), pod_key("second"), secret}

    in_world(story)


def test_with_an_older_role_pods_go_without_their_runtime_class() -> None:
    """The device takes it for the handler of its name then; and nothing else waits for it."""

    async def story(world: World) -> None:
        def forbid(verb: str, resource: Resource, name: str) -> None:
            if resource == RUNTIME_CLASSES:
                raise KubeRefused("runtimeclasses is forbidden", status=403, reason="Forbidden")

        world.kube.fail = forbid
        world.hub()
        device = world.device()
        await world.quiet()
        await world.pod("web", runtimeClassName="runc")
        await world.quiet()
        assert device.applied.entries.keys() == {pod_key("web")}
        await world.pod("later")
        await world.quiet(0.2)
        assert device.applied.entries.keys() == {pod_key("web"), pod_key("later")}

    in_world(story)


@pytest.mark.parametrize("found", ["it", "none", "no right"])
def test_a_device_waits_for_a_runtime_class_that_is_not_known_yet(found: str) -> None:
    """Its handler may be another one than that of its name."""

    async def story(world: World) -> None:
        refusal: KubeError | KubeRefused | None = KubeError("the API server is slow")

        def refuse(verb: str, resource: Resource, name: str) -> None:
            if refusal is not None and (verb, resource) == ("get", RUNTIME_CLASSES):
                raise refusal

        world.kube.fail = refuse
        if found == "it":
            made = {"metadata": {"name": "kata"}, "handler": "kata-qemu"}
            await world.kube.create(RUNTIME_CLASSES, "", made)
        world.hub()
        device = world.device()
        await world.quiet()
        await world.pod("web", runtimeClassName="kata")
        await world.quiet(60)
        assert device.applied.entries.keys() == {pod_key("web"), RUNTIME_CLASS}
        assert device.missing == (RUNTIME_CLASS,), "listed, and nothing of it is there"
        revision = device.applied.revision
        await world.quiet(600)
        assert device.applied.revision == revision
        forbidden = KubeRefused("runtimeclasses is forbidden", status=403, reason="Forbidden")
        refusal = forbidden if found == "no right" else None
        sent = await world.quiet(60)
        assert "desired/Pod/default/web" not in topics_of(sent)
        assert not device.missing
        if found == "it":
            assert device.body(RUNTIME_CLASS)["handler"] == "kata-qemu"
        else:
            assert device.applied.entries.keys() == {pod_key("web")}

    in_world(story)


def test_a_runtime_class_that_a_device_has_stays_while_it_is_not_known() -> None:
    async def story(world: World) -> None:
        made = {"metadata": {"name": "kata"}, "handler": "kata-qemu"}
        await world.kube.create(RUNTIME_CLASSES, "", made)
        world.hub()
        device = world.device()
        await world.pod("web", runtimeClassName="kata")
        await world.quiet()
        before = device.applied.entries[RUNTIME_CLASS]
        refusal: KubeError | KubeRefused = KubeError("the API server is slow")

        def refuse(verb: str, resource: Resource, name: str) -> None:
            if (verb, resource) == ("get", RUNTIME_CLASSES):
                raise refusal

        world.kube.fail = refuse
        await world.hubs[0].stop()
        world.hub("hub-b")
        await world.pod("second")
        await world.quiet(60)
        assert pod_key("second") in device.applied.entries
        assert device.applied.entries[RUNTIME_CLASS] == before
        refusal = KubeRefused("runtimeclasses is forbidden", status=403, reason="Forbidden")
        await world.pod("third")
        await world.quiet(60)
        assert pod_key("third") in device.applied.entries
        assert device.applied.entries[RUNTIME_CLASS] == before

    in_world(story)


def test_an_api_server_that_comes_late_is_no_reason_to_empty_a_node() -> None:
    async def story(world: World) -> None:
        await settled(world)
        await world.hubs[0].stop()

        def away(verb: str, resource: Resource, name: str) -> None:
            raise KubeError("connection refused")

        world.kube.fail = away
        world.hub("hub-b", "edge-9")
        world.hubs[1].sync.manage(NODE)
        assert of_node(await world.quiet(120)) == []
        assert len(world.devices[NODE].applied.entries) == 2

    in_world(story)
