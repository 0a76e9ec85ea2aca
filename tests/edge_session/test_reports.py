"""Reports: the newest of each object arrives, nothing is sent twice without need, nothing is lost.

In virtual time over the broker model.
"""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.errors import StoreBusy
from tests.edge_session.conftest import Model
from tests.edge_session.rig import OURS, Device, Hub, a_hub, event, pod_key, until
from tests.parts.virtual_time import virtual

WEB = pod_key("web")


@asynccontextmanager
async def running(model: Model, *names: str) -> AsyncIterator[tuple[Hub, Device]]:
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await until(lambda: device.connected)
        await hub.want(*names)
        await until(lambda: device.has(*names))
        yield hub, device


@virtual
async def test_only_the_newest_of_a_burst_is_sent(tmp_path: Path) -> None:
    async with running(Model(tmp_path), "web") as (hub, device):
        for step in range(5):
            await device.report("web", within=1.0, step=step)
        await device.report("web", phase="Running")
        await asyncio.sleep(5)
        assert [report.status for report in hub.reports[WEB]] == [{"phase": "Running"}]
        assert hub.reports[WEB][0].applied == device.desired.revision


@virtual
async def test_an_urgent_report_does_not_take_patient_ones_with_it(tmp_path: Path) -> None:
    async with running(Model(tmp_path), "web", "db") as (hub, device):
        await device.report("db", within=1.0, phase="Pending")
        await device.report("web", phase="Running")
        await until(lambda: hub.newest("web"), within=0.5)
        assert hub.newest("db") is None
        await until(lambda: hub.newest("db"), within=1.5)


@virtual
async def test_a_report_that_cannot_be_sent_holds_up_no_other(tmp_path: Path) -> None:
    """It is stored, and the session would end with it at every connect."""
    async with running(Model(tmp_path), "web", "db") as (hub, device):
        await device.report("db", phase="Pending", number=2**70)
        await device.report("web", phase="Pending", message="of a path: /\udcff")
        await until(lambda: hub.newest("web"), within=5)
        assert hub.reports[WEB][-1].status["message"] == "of a path: /?"
        await device.report("web", phase="Running")
        await until(lambda: hub.reports[WEB][-1].status == {"phase": "Running"}, within=5)
        assert device.connected


@virtual
async def test_saying_the_same_again_sends_nothing(tmp_path: Path) -> None:
    async with running(Model(tmp_path), "web") as (hub, device):
        for _ in range(3):
            await device.report("web", phase="Running")
            await asyncio.sleep(3)
        assert len(hub.reports[WEB]) == 1


@virtual
async def test_what_was_reported_offline_is_sent_after_a_restart(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with running(model, "web") as (hub, device):
        await device.report("web", phase="Pending")
        await until(lambda: hub.newest("web"))
    offline = model.device()
    model.ways[-1].reachable = False
    async with offline.running():
        await offline.report("web", phase="Running")
        await asyncio.sleep(1)
    async with a_hub(model.link()) as hub, model.device().running():
        await until(lambda: hub.newest("web") == {"phase": "Running"})


@virtual
async def test_before_a_shutdown_everything_is_acknowledged_without_its_patience(
    tmp_path: Path,
) -> None:
    model = Model(tmp_path)
    async with running(model, "web", "db") as (hub, device):
        await device.report("web", within=60.0, phase="Running")
        await device.report("db", within=60.0, phase="Failed")
        began = model.clock.monotonic()
        assert await device.reports.deliver(within=5.0)
        assert model.clock.monotonic() - began < 1.0
        await asyncio.sleep(0.1)
        assert (hub.newest("web"), hub.newest("db")) == ({"phase": "Running"}, {"phase": "Failed"})


@virtual
async def test_a_shutdown_waits_for_no_link_that_is_not_there(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with running(model, "web") as (_, device):
        model.ways[-1].cut()
        model.ways[-1].reachable = False
        await until(lambda: not device.connected)
        await device.report("web", within=60.0, phase="Running")
        began = model.clock.monotonic()
        assert not await device.reports.deliver(within=5.0)
        assert model.clock.monotonic() == began
    async with a_hub(model.link()) as hub, model.device().running():
        await until(lambda: hub.newest("web") == {"phase": "Running"})


@virtual
async def test_a_shutdown_waits_for_a_dead_link_as_long_as_it_can(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with running(model, "web") as (_, device):
        model.ways[-1].sever()
        await device.report("web", phase="Running")
        began = model.clock.monotonic()
        assert not await device.reports.deliver(within=5.0)
        assert 5.0 <= model.clock.monotonic() - began < 5.1


@virtual
async def test_what_the_broker_has_is_not_sent_again_after_a_restart(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with running(model, "web") as (hub, device):
        await device.report("web", phase="Running")
        await until(lambda: hub.newest("web"))
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await device.report("web", phase="Running")
        await asyncio.sleep(30)
        assert len(hub.reports[WEB]) == 1, "the retained one only"


@virtual
async def test_who_was_killed_may_have_said_what_it_could_not_store(tmp_path: Path) -> None:
    """The database says the broker has "Running"; on a full disk the broker was told more."""
    model = Model(tmp_path)
    async with running(model, "web") as (hub, device):
        await device.report("web", phase="Running")
        await until(lambda: hub.newest("web"))
        await device.reports.flush()
        image = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
        await device.report("web", phase="Failed")
        await until(lambda: hub.newest("web") == {"phase": "Failed"})
    for file, content in image.items():
        file.write_bytes(content)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await device.report("web", phase="Running")
        await until(lambda: len(hub.reports[WEB]) == 2)
        assert hub.reports[WEB][-1].status == {"phase": "Running"}


@virtual
async def test_reports_about_what_is_not_wanted_are_not_sent(tmp_path: Path) -> None:
    async with running(Model(tmp_path), "web") as (hub, device):
        await device.report("other", phase="Running")
        await device.reports.put(WEB, uid="older", status={"phase": "Failed"}, within=0.02)
        await asyncio.sleep(5)
        assert not hub.reports


@virtual
async def test_the_report_of_a_dropped_pod_is_forgotten(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with running(model, "web", "db") as (hub, device):
        await device.report("web", phase="Running")
        await hub.want("db")
        await until(lambda: device.has("db"))
        assert device.reports.waiting == 0
    async with model.device().running() as again:
        assert again.reports.waiting == 0


@virtual
async def test_a_report_over_the_packet_limit_is_made_smaller_and_blocks_nobody(
    tmp_path: Path,
) -> None:
    model = Model(tmp_path, max_packet_size=1000)
    async with running(model, "web", "db") as (hub, device):
        noise = "".join(random.Random(1).choices(string.printable, k=5000))
        await device.report("web", phase="Failed", message=noise)
        await device.report("db", phase="Running")
        await until(lambda: hub.newest("web") and hub.newest("db"))
        said = hub.newest("web")
        assert said is not None
        assert said["phase"] == "Failed"
        assert len(said["message"]) < 300


class FullDisk:
    """A store that cannot be written for a while."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._write = device.database.write

    def fill(self) -> None:
        async def refuse(work: object) -> None:
            raise StoreBusy("database or disk is full")

        self._device.database.write = refuse  # type: ignore[method-assign,assignment]

    def free(self) -> None:
        self._device.database.write = self._write  # type: ignore[method-assign]


@virtual
async def test_with_a_full_disk_reports_go_out_and_lists_wait(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with running(model, "web") as (hub, device):
        disk = FullDisk(device)
        disk.fill()
        await device.report("web", phase="Running")
        await until(lambda: hub.newest("web"))
        await hub.want("web", "db")
        await asyncio.sleep(20)
        assert device.has("web"), "what is not stored is not applied"
        disk.free()
        await until(lambda: device.has("web", "db"), within=60)
        await asyncio.sleep(10)
    async with model.device().running() as again:
        assert again.has("web", "db")
        assert again.reports.waiting == 0


@virtual
async def test_what_could_not_be_stored_comes_again_after_a_crash(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with running(model, "web") as (hub, device):
        FullDisk(device).fill()
        await hub.want("web", "db")
        await asyncio.sleep(20)
    async with model.device().running() as again:
        assert again.has("web")
        await until(lambda: again.has("web", "db"))


@virtual
async def test_sequences_grow_over_a_lost_database(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with running(model, "web") as (hub, device):
        await device.report("web", phase="Running")
        await until(lambda: hub.newest("web"))
        first = hub.reports[WEB][-1].sequence
    async with a_hub(model.link()) as hub, model.device("fresh").running() as device:
        await until(lambda: device.has("web"))
        await device.report("web", phase="Failed")
        await until(lambda: hub.newest("web") == {"phase": "Failed"})
        assert hub.reports[WEB][-1].sequence > first


@virtual
async def test_the_events_of_a_report_are_kept_until_it_is_sent(tmp_path: Path) -> None:
    async with running(Model(tmp_path), "web") as (hub, device):
        now = device._clock.now()
        await device.report("web", phase="Running")
        for _ in range(3):
            again = [event(at=now)]
            await device.reports.put(WEB, uid="uid-web", status=None, events=again, within=0.02)
        await until(lambda: hub.reports.get(WEB))
        assert hub.reports[WEB][-1].status == {"phase": "Running"}
        assert [one.count for one in hub.reports[WEB][-1].events] == [3]


@virtual
async def test_an_event_that_only_repeats_is_told_seldom(tmp_path: Path) -> None:
    async with running(Model(tmp_path), "web") as (hub, device):
        for _ in range(60):
            now = device._clock.now()
            await device.reports.put(
                WEB, uid="uid-web", status={}, events=[event(at=now)], within=0.02
            )
            await asyncio.sleep(1)
        assert len(hub.reports[WEB]) <= 7


@virtual
async def test_a_cleared_session_asks_for_all_reports_and_a_birth_names_the_newest(
    tmp_path: Path,
) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await hub.want("web", "db")
        await until(lambda: device.has("web", "db"))
        for name in ("web", "db"):
            await device.report(name, phase="Running")
            await asyncio.sleep(1)
        await until(lambda: all(map(hub.newest, ("web", "db"))))
        await asyncio.sleep(1)
        said, births = said_by(hub), len(hub.births)
        await hub.raw(OURS.session, b"")
        await until(lambda: len(hub.births) > births and said_by(hub) > said)
        await asyncio.sleep(60)
        assert said_by(hub) == said + 2
        model.ways[-1].cut()
        await until(lambda: len(hub.births) > births + 1)
        newest = hub.reports[pod_key("db")][-1]
        assert hub.births[-1].reported == newest.sequence
        assert hub.births[-1].about == newest.key.mark


@virtual
async def test_a_birth_names_a_report_that_must_lie_at_the_broker_as_it_was(
    tmp_path: Path,
) -> None:
    """Said again it proves nothing any more, and the newest of the others takes its place."""
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await hub.want("web", "db")
        await until(lambda: device.has("web", "db"))
        for name in ("web", "db"):
            await device.report(name, phase="Pending")
            await asyncio.sleep(1)
        model.ways[-1].cut()
        await until(lambda: hub.births[-1].about == pod_key("db").mark)
        before = len(hub.births)
        await device.report("db", phase="Running")
        await until(lambda: hub.births[-1].about == pod_key("web").mark, within=40)
        assert hub.births[-1].reported == hub.reports[pod_key("web")][-1].sequence
        await device.report("db", phase="Failed")
        await asyncio.sleep(3600)
        assert len(hub.births) == before + 1
        await device.report("web", phase="Running")
        await until(lambda: not hub.births[-1].reported, within=40)
        await asyncio.sleep(3600)
        assert len(hub.births) == before + 2


def said_by(hub: Hub) -> int:
    return sum(map(len, hub.reports.values()))
