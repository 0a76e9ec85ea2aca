"""A device gets what it should have, whatever the broker, the link and the hub do meanwhile.

In virtual time over the broker model; excluded: pods, the container runtime.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from edgeagent.desired import Desired
from shared.messages import Session
from simulator.broker import Store
from tests.edge_session.conftest import Model
from tests.edge_session.rig import OURS, Device, Hub, a_hub, pod, until
from tests.parts.virtual_time import virtual


@virtual
async def test_a_new_device_gets_the_list_that_was_published_before_it_came(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub:
        await hub.want("web", "db", ride=False)
        async with model.device().running() as device:
            await until(lambda: device.has("web", "db"))
            await asyncio.sleep(1)
    assert not model.broker.sessions[f"edge-1.{device.identity.instance}"].subscriptions.keys() - {
        OURS.session,
        OURS.change,
        OURS.answer,
        "kubetide/v1/hub",
    }, "what was fetched is unsubscribed"


@virtual
async def test_a_connected_device_follows_changes_alone(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await until(lambda: device.connected)
        await hub.want("web")
        await until(lambda: device.has("web"))
        await hub.want("web", "db")
        await until(lambda: device.has("web", "db"))
        await hub.want()
        await until(lambda: device.has() and device.desired.revision == 3)


@virtual
async def test_the_list_survives_a_restart_without_a_broker(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await hub.want("web")
        await until(lambda: device.has("web"))
    model.broker.crash()
    async with model.device().running() as device:
        assert device.has("web")
        await asyncio.sleep(30)
        assert device.standing.now.link.startswith("not connected: ")


@virtual
async def test_a_change_that_was_missed_is_made_up_for_at_the_reconnect(tmp_path: Path) -> None:
    model = Model(tmp_path, queue_cap=1)
    async with a_hub(model.link()) as hub:
        device = model.device()
        async with device.running():
            await until(lambda: device.connected)
            way = model.ways[-1]
            way.reachable = False
            way.cut()
            await until(lambda: not device.connected)
            for names in (["a"], ["a", "b"], ["b"]):
                await hub.want(*names)
            way.reachable = True
            await until(lambda: device.has("b"), within=90)


@virtual
async def test_what_the_broker_has_not_is_announced_and_fetched_when_it_comes(
    tmp_path: Path,
) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await hub.want("web", "db", ride=False, withheld=True)
        await until(lambda: hub.births and len(hub.births[-1].missing) == 2, within=30)
        assert not device.desired.pods()
        await hub.publish_bodies()
        await until(lambda: device.has("web", "db"))
        await until(lambda: not hub.births[-1].missing)


@virtual
async def test_each_connection_announces_in_a_moment_what_is_missing(tmp_path: Path) -> None:
    """However long the pauses of the one before had grown: connections may be short."""
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await hub.want("web", ride=False, withheld=True)
        await asyncio.sleep(3000)
        counter = hub.births[-1].counter

        def told(connection: int) -> bool:
            return any(one.counter == connection and one.missing for one in hub.births)

        for _ in range(2):
            model.ways[-1].cut()
            await until(lambda: not device.connected)
            await until(lambda: device.connected, within=90)
            counter += 1
            await until(lambda at=counter: told(at), within=15)  # type: ignore[misc]


@virtual
async def test_a_pod_keeps_its_old_body_until_the_new_one_comes(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await hub.want("web")
        await until(lambda: device.has("web"))
        newer = pod("web", extra=1)
        await hub.want("web", bodies={"web": newer}, ride=False, withheld=True)
        await until(lambda: device.desired.revision == 2)
        assert device.desired.pods()["uid-web"].pod == pod("web")
        await hub.publish_bodies()
        await until(lambda: device.desired.pods()["uid-web"].pod == newer)


@virtual
async def test_many_missing_bodies_come_through_one_filter(tmp_path: Path) -> None:
    model = Model(tmp_path)
    names = [f"pod-{number}" for number in range(60)]
    async with a_hub(model.link()) as hub:
        await hub.want(*names, ride=False)
        async with model.device().running() as device:
            await until(lambda: device.has(*names))


@virtual
async def test_a_wiped_broker_deletes_nothing_and_gets_all_reports_again(tmp_path: Path) -> None:
    model = Model(tmp_path)
    hub_link = model.link()
    device = model.device()
    async with device.running():
        async with a_hub(hub_link) as hub:
            await hub.want("web")
            await until(lambda: device.has("web"))
            await device.report("web", phase="Running")
            await until(lambda: hub.newest("web"))
        model.broker.crash()
        model.broker.start(Store.WIPED)
        async with a_hub(hub_link) as hub:
            await until(lambda: hub.newest("web") == {"phase": "Running"}, within=60)
            assert hub.births[-1].revision == 1
        assert device.has("web")


@virtual
async def test_a_rolled_back_broker_deletes_nothing_and_gets_all_reports_again(
    tmp_path: Path,
) -> None:
    model = Model(tmp_path)
    hub_link = model.link()
    device = model.device()
    async with device.running():
        async with a_hub(hub_link) as hub:
            await hub.want("web")
            await until(lambda: device.has("web"))
            await asyncio.sleep(1)
            model.broker.take_snapshot()
            await hub.want("web", "db")
            await until(lambda: device.has("web", "db"))
            await device.report("web", phase="Running")
            await until(lambda: hub.newest("web"))
        model.broker.crash()
        model.broker.start(Store.ROLLED_BACK)
        async with a_hub(hub_link) as hub:
            await until(lambda: hub.newest("web") == {"phase": "Running"}, within=60)
        assert device.has("web", "db")
        assert device.desired.revision == 2


@virtual
async def test_an_idle_device_sends_nothing(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await hub.want("web")
        await until(lambda: device.has("web"))
        await device.report("web", phase="Running")
        await asyncio.sleep(60)
        heard = (len(hub.sessions), sum(map(len, hub.reports.values())))
        await asyncio.sleep(3600)
        assert (len(hub.sessions), sum(map(len, hub.reports.values()))) == heard


@virtual
async def test_a_revision_that_no_report_carries_is_told_after_a_while(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await hub.want("web")
        await until(lambda: hub.births and device.has("web"))
        births = len(hub.births)
        await hub.want("web", bodies={"web": pod("web", extra=1)})
        await until(lambda: hub.births[-1].revision == 2, within=61)
        assert len(hub.births) == births + 1


@virtual
async def test_a_clean_stop_says_so_and_a_crash_leaves_it_to_the_will(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub:
        async with model.device().running():
            await until(lambda: hub.births)
        await until(lambda: not hub.sessions[-1].online, within=1)
        assert hub.sessions[-1].same_connection(hub.births[-1])
        async with model.device().running():
            await until(lambda: len(hub.births) == 2)
            model.ways[-1].reachable = False
            model.ways[-1].cut()
            await until(lambda: not hub.sessions[-1].online, within=60)
        assert hub.sessions[-1].same_connection(hub.births[-1])


@virtual
async def test_a_late_death_over_a_living_birth_is_put_right(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await until(lambda: hub.births)
        await asyncio.sleep(1)
        old = Session(False, device.identity.instance, 0)
        await hub.raw(OURS.session, old.encode())
        await until(lambda: hub.sessions[-1].online and len(hub.births) == 2)


@virtual
async def test_the_hubs_presence_is_known(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await hub.present(True)
        await until(lambda: device.standing.now.hub == "hub-a")
        await hub.present(False)
        await until(lambda: device.standing.now.hub == "")


class Away:
    """A device in step with one pod, cut off; what its pods are shown from then on."""

    def __init__(self, model: Model, device: Device, hub: Hub) -> None:
        self.device, self.hub, self.way = device, hub, model.ways[-1]
        self.shown: list[int] = []
        device.desired.subscribe(lambda keys: self.shown.append(self._version()))

    def _version(self) -> int:
        found: int = self.device.desired.pods()["uid-web"].pod["version"]
        return found

    async def publish(self, *versions: int) -> None:
        for version in versions:
            await self.hub.want("web", bodies={"web": pod("web", version=version)})

    async def returns(self) -> None:
        self.way.reachable = True
        await until(lambda: self.device.connected, within=90)

    @classmethod
    @asynccontextmanager
    async def of(cls, model: Model) -> AsyncIterator[Away]:
        async with a_hub(model.link()) as hub, model.device().running() as device:
            await until(lambda: device.connected)
            await hub.want("web", bodies={"web": pod("web", version=1)})
            await until(lambda: device.has("web"))
            away = cls(model, device, hub)
            away.way.reachable = False
            away.way.cut()
            await until(lambda: not device.connected)
            yield away


@virtual
async def test_pods_are_not_shown_what_was_taken_back_while_the_device_was_away(
    tmp_path: Path,
) -> None:
    async with Away.of(Model(tmp_path)) as away:
        await away.publish(2, 1, 2, 3, 1)
        await away.returns()
        await until(lambda: away.device.desired.revision == 6)
        assert away.shown == []
        assert (await away.device.store.load()).inventory.revision == 6


@virtual
async def test_a_link_that_breaks_before_the_head_of_the_list_shows_what_has_come(
    tmp_path: Path,
) -> None:
    async with Away.of(Model(tmp_path)) as away:
        await away.publish(2, 1)
        away.way.bandwidth = 500.0
        away.way.reachable = True
        await until(lambda: away.device.delivery.newest.inventory.revision == 2, within=90)
        assert away.shown == []
        away.way.cut()
        await until(lambda: away.shown == [2])


@virtual
async def test_a_broker_that_lost_the_head_of_the_list_holds_up_nothing_for_long(
    tmp_path: Path,
) -> None:
    model = Model(tmp_path)
    async with Away.of(model) as away:
        await away.publish(2)
        model.broker.retained.drop(OURS.change)
        await away.returns()
        await asyncio.sleep(1)
        assert away.shown == []
        await until(lambda: away.shown == [2], within=3)


@virtual
async def test_a_slow_disk_is_no_silence_of_the_broker(tmp_path: Path) -> None:
    async with Away.of(Model(tmp_path)) as away:
        await away.publish(*[2, 3, 4, 5] * 12, 1)
        at_once = away.device.store.save

        async def slowly(desired: Desired) -> None:
            await asyncio.sleep(3)
            await at_once(desired)

        away.device.store.save = slowly  # type: ignore[method-assign]
        await away.returns()
        await until(lambda: away.device.desired.revision == 50)
        assert away.shown == []


@virtual
async def test_nor_does_one_that_goes_on_telling_without_the_head(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with Away.of(model) as away:
        model.broker.retained.drop(OURS.change)
        await away.returns()
        for version in range(2, 15):
            await away.publish(version)
            await asyncio.sleep(1)
            if version == 9:
                assert away.shown == []
        assert away.shown[-1] == 14


@virtual
async def test_a_device_without_a_session_at_the_broker_waits_for_nothing(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with Away.of(model) as away:
        model.broker.crash()
        model.broker.start(Store.WIPED)
        await away.returns()
        async with a_hub(model.link()) as hub:
            hub.inventory = away.hub.inventory
            await hub.want("web", bodies={"web": pod("web", version=2)})
            await until(lambda: away.shown == [2], within=2)
