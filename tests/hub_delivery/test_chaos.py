"""Random bad days for hubs, broker and API server; when they end, everything is as the API says."""

from __future__ import annotations

import random

import pytest

from cloudhub.kube.port import CONFIG_MAPS, PODS, Resource
from shared.errors import KubeError, KubeRefused
from shared.messages import Change, DesiredObject, Inventory
from simulator.broker import Store
from simulator.broker_session import Traits
from tests.hub_delivery.device import Device
from tests.hub_delivery.world import NODE, World, config_key, in_world, pod_key

SEEDS = 40


class Chaos:
    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.configs = 0
        self.image: tuple[Inventory, dict[bytes, bytes], int, int] | None = None

    async def step(self) -> None:
        deeds = [
            *(self.create, self.create, self.delete, self.force_delete, self.config, self.report),
            *(self.cut_hub, self.cut_device, self.restart_hub, self.second_hub),
            *(self.reinstall_device, self.restore_device),
            *(self.broker, self.api, self.break_watches),
        ]
        await self.rng.choice(deeds)()
        await self.world.quiet(self.rng.choice([0.0, 0.01, 0.03, 0.3, 3.0, 30.0]))

    async def create(self) -> None:
        name = f"p{self.rng.randrange(6)}"
        names = [{"configMapRef": {"name": f"c{self.rng.randrange(3)}"}}]
        try:
            await self.world.pod(name, containers=[{"name": "c", "envFrom": names}])
        except (KubeError, KubeRefused):
            return

    async def delete(self) -> None:
        await self._delete(30)

    async def force_delete(self) -> None:
        await self._delete(0)

    async def _delete(self, grace: int) -> None:
        store = self.world.kube._store(PODS)
        if store:
            (namespace, name), pod = self.rng.choice(sorted(store.items()))
            calm, self.world.kube.fail = self.world.kube.fail, lambda *_: None
            uid = pod["metadata"]["uid"]
            await self.world.kube.delete(PODS, namespace, name, uid=uid, grace=grace)
            self.world.kube.fail = calm

    async def config(self) -> None:
        self.configs += 1
        size = self.rng.choice([1, 1, 6000])
        name, data = f"c{self.rng.randrange(3)}", {"n": str(self.configs), "x": "x" * size}
        calm, self.world.kube.fail = self.world.kube.fail, lambda *_: None
        found = await self.world.kube.get(CONFIG_MAPS, "default", name)
        if found is None:
            await self.world.config(name, data)
        elif self.rng.random() < 0.3:
            uid = found["metadata"]["uid"]
            await self.world.kube.delete(CONFIG_MAPS, "default", name, uid=uid, grace=0)
        else:
            await self.world.kube.patch(CONFIG_MAPS, "default", name, {"data": data})
        self.world.kube.fail = calm

    async def report(self) -> None:
        """The device says what it would: running, or stopped when it is being deleted."""
        report_all(self.world, self.world.devices[NODE])

    async def cut_hub(self) -> None:
        self.rng.choice(self.world.hubs).path.cut()

    async def cut_device(self) -> None:
        self.world.devices[NODE]._link._path.cut()  # type: ignore[attr-defined]

    async def reinstall_device(self) -> None:
        """Its database is gone: it knows nothing and has another instance."""
        device = self.world.devices[NODE]
        device.applied, device.bodies, device.missing = Inventory(0, {}), {}, ()
        device.instance, device.counter, device.sequence = f"i{self.rng.random()}", 0, 0
        await self.cut_device()

    async def restore_device(self) -> None:
        """An old image of it, or the making of one."""
        device = self.world.devices[NODE]
        if self.image is None or self.rng.random() < 0.5:
            self.image = (device.applied, dict(device.bodies), device.counter, device.sequence)
            return
        device.applied, bodies, device.counter, device.sequence = self.image
        device.bodies, device.missing = dict(bodies), ()
        await self.cut_device()

    async def restart_hub(self) -> None:
        await self.world.hubs.pop(0).stop()
        self.world.hub(f"hub-{self.rng.randrange(3)}")

    async def second_hub(self) -> None:
        if len(self.world.hubs) == 1:
            self.world.hub("hub-x")
        else:
            await self.world.hubs.pop().stop()

    async def broker(self) -> None:
        if self.rng.random() < 0.3:
            self.world.broker.take_snapshot()
        self.world.broker.crash()
        await self.world.quiet(self.rng.random())
        self.world.broker.start(self.rng.choice(list(Store)))

    async def api(self) -> None:
        def sometimes(verb: str, resource: Resource, name: str) -> None:
            if self.rng.random() < 0.5:
                raise KubeError("too busy", status=429)

        calm = self.rng.random() < 0.5
        self.world.kube.fail = (lambda *_: None) if calm else sometimes

    async def break_watches(self) -> None:
        self.world.kube.break_watches()

    async def end(self) -> None:
        self.world.kube.fail = lambda *_: None
        while len(self.world.hubs) > 1:
            await self.world.hubs.pop().stop()
        await self.world.quiet(200)
        for _ in range(3):
            report_all(self.world, self.world.devices[NODE])
            await self.world.quiet(120)


def report_all(world: World, device: Device) -> None:
    if device._connection is None:
        return
    for key, entry in sorted(device.applied.entries.items()):
        if key.kind != "Pod" or entry.digest not in device.bodies:
            continue
        uid = device.body(key)["metadata"]["uid"]
        dying = entry.grace is not None
        status = {"phase": "Failed" if dying else "Running", "message": uid}
        device.report(key, uid, status, finished=dying)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_after_any_bad_day_device_and_api_agree(seed: int) -> None:
    async def story(world: World) -> None:
        chaos = Chaos(world, seed)
        world.hub()
        device = world.device()
        await world.quiet()
        for _ in range(60):
            await chaos.step()
        await chaos.end()
        pods = {name: pod for (_, name), pod in world.kube._store(PODS).items()}
        configs = {name for _, name in world.kube._store(CONFIG_MAPS)}
        named = {source_of(pod) for pod in pods.values()} & configs
        assert device.applied.entries.keys() == {
            *(pod_key(name) for name in pods),
            *(config_key(name) for name in named),
        }
        assert not device.missing
        for name, pod in pods.items():
            assert "deletionTimestamp" not in pod["metadata"], "its deletion never ended"
            assert device.body(pod_key(name))["metadata"]["uid"] == pod["metadata"]["uid"]
            assert pod["status"].get("message") == pod["metadata"]["uid"]
        assert_retained(world, device)
        reported = [t for t, _ in world.broker.retained.items() if "/reported/" in t]
        assert {topic.rsplit("/", 1)[-1] for topic in reported} <= pods.keys()
        assert [one for one in await world.quiet(300) if "/hub" not in one.topic] == []

    traits = Traits(reorders=0.2) if seed % 3 == 0 else None
    in_world(story, seed=seed, traits=traits)


def assert_retained(world: World, device: Device) -> None:
    """The broker alone can bring a new device to the same list."""
    kept = {topic: one.payload for topic, one in world.broker.retained.items()}
    if not device.applied.revision:
        return
    topics = device.topics
    assert Inventory.decode(kept[topics.inventory]) == device.applied
    change = Change.decode(kept[topics.change])
    assert (change.revision, change.digest) == (device.applied.revision, device.applied.digest)
    for key, entry in device.applied.entries.items():
        assert DesiredObject.decode(kept[topics.desired(key)]).digest == entry.digest


def source_of(pod: dict) -> str:
    return str(pod["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"])
