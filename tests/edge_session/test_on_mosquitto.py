"""The agent's session on a real broker: its restarts, its refusals, and what strangers publish."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgeagent.session import yielding
from shared import codec
from shared.clock import SystemClock
from shared.link import Broker
from shared.messages import Change, DesiredObject, Entry, Inventory, Session
from shared.paho_link import PahoLink
from tests.edge_session.rig import OURS, TOPICS, Device, Hub, a_hub, pod, pod_key, until
from tests.parts.certificates import Certificates, make
from tests.parts.mosquitto import Mosquitto


def link(broker: Mosquitto, **options: str) -> PahoLink:
    tls = bool(broker.settings.tls)
    return PahoLink(Broker("127.0.0.1", broker.port, tls, **options))


@pytest.fixture
def device(mosquitto: Mosquitto, tmp_path: Path) -> Callable[..., Device]:
    """Makes agent processes; the same name is the same disk."""

    def make_device(name: str = "a", *, boot: str = "boot-1") -> Device:
        return Device(link(mosquitto), tmp_path / name, SystemClock(), boot=boot)

    return make_device


@asynccontextmanager
async def in_step(
    mosquitto: Mosquitto, device: Callable[..., Device]
) -> AsyncIterator[tuple[Hub, Device]]:
    async with a_hub(link(mosquitto)) as hub, device().running() as one:
        await hub.want("web")
        await until(lambda: one.has("web"))
        yield hub, one


async def test_a_list_and_a_change_arrive(
    mosquitto: Mosquitto, device: Callable[..., Device]
) -> None:
    names = [f"pod-{number}" for number in range(40)]
    async with in_step(mosquitto, device) as (hub, one):
        await hub.want("web", "db")
        await until(lambda: one.has("web", "db"))
        await hub.want(*names, ride=False)
        await until(lambda: one.has(*names))
        await one.report("pod-1", phase="Running")
        await until(lambda: hub.newest("pod-1"))


async def test_what_was_taken_back_meanwhile_is_not_shown_to_the_pods(
    mosquitto: Mosquitto, device: Callable[..., Device]
) -> None:
    async with in_step(mosquitto, device) as (hub, one):
        await until(lambda: one.connected)
    async with a_hub(link(mosquitto)) as hub:
        hub.inventory = one.desired.desired.inventory
        for number in range(100):
            await hub.want("web", bodies={"web": pod("web", extra=number)})
            await hub.want("web")
        shown: list[object] = []
        again = device()
        async with again.running():
            again.desired.subscribe(lambda keys: shown.append(again.desired.pods()["uid-web"].pod))
            await until(lambda: again.desired.revision == hub.inventory.revision)
            assert again.has("web")
            assert shown == []


async def test_a_broker_that_restarts_with_its_store_costs_one_birth(
    mosquitto: Mosquitto, device: Callable[..., Device]
) -> None:
    async with device().running() as one:
        async with a_hub(link(mosquitto)) as hub:
            await hub.want("web")
            await until(lambda: one.has("web"))
            await one.report("web", phase="Running")
            await until(lambda: hub.newest("web"))
            sequence = hub.reports[pod_key("web")][-1].sequence
        await asyncio.to_thread(mosquitto.restart)
        async with a_hub(link(mosquitto)) as hub:
            await until(lambda: any(birth.counter == 2 for birth in hub.births), within=20)
            await asyncio.sleep(1)
            assert {report.sequence for report in hub.reports[pod_key("web")]} == {sequence}
            assert one.has("web")


async def test_a_broker_that_lost_its_store_is_told_everything_again(
    mosquitto: Mosquitto, device: Callable[..., Device]
) -> None:
    async with device().running() as one:
        async with a_hub(link(mosquitto)) as hub:
            await hub.want("web")
            await until(lambda: one.has("web"))
            await one.report("web", phase="Running")
            await until(lambda: hub.newest("web"))
        await asyncio.to_thread(mosquitto.stop)
        await asyncio.to_thread(mosquitto.wipe)
        await asyncio.to_thread(mosquitto.start)
        async with a_hub(link(mosquitto)) as hub:
            await until(lambda: hub.newest("web") == {"phase": "Running"}, within=20)
            assert hub.births[-1].revision == 1
            assert one.has("web"), "an empty broker deletes nothing"


VALID = Inventory(9, {pod_key("web"): Entry(b"x" * 16)}).encode()
"""Garbage on any topic but one."""


def hostile() -> list[bytes]:
    good = VALID
    return [
        b"\0",
        b"garbage",
        b"\x01garbage",
        bytes(range(256)) * 10,
        good[:-3],
        good + b"more",
        bytes((good[0] + 1,)) + good[1:],
        codec.encode({}),
        codec.encode({"r": -1, "e": [], "d": b""}),
        codec.encode({"r": 2**60, "e": 5, "d": "x"}),
        codec.encode({"b": 0, "r": 9, "d": b"z" * 16, "x": [["Pod", "../..", "x"]], "p": []}),
        codec.encode({"o": True, "i": 5, "c": "x"}),
        codec.encode({"zeros": b"\0" * 5_000_000}),
        good,
        Change(1, 9, b"y" * 16).encode(),
        DesiredObject(pod_key("other"), codec.pack({})).encode(),
    ]


async def test_garbage_on_every_topic_changes_nothing(
    mosquitto: Mosquitto, device: Callable[..., Device]
) -> None:
    topics = (
        *(OURS.inventory, OURS.change, OURS.session, TOPICS.hub()),
        *(OURS.desired(pod_key("web")), f"{OURS.base}/desired/Pod/x", f"{OURS.base}/else"),
    )
    async with in_step(mosquitto, device) as (hub, one):
        stranger = Hub(hub.connection)
        for topic in topics:
            for payload in hostile():
                if topic != OURS.inventory or payload != VALID:
                    await stranger.raw(topic, payload)
        await hub.want("web", "db")
        await until(lambda: one.has("web", "db"), within=20)
        assert one.connected
        assert not one.session.fenced.is_set()
        assert {
            "bad-version",
            "bad-deflate",
            "truncated",
            "bad-field",
        } <= one.rejections.counts.keys()


async def test_of_two_agents_with_one_name_the_older_stops_and_keeps_its_pods(
    mosquitto: Mosquitto, device: Callable[..., Device]
) -> None:
    async with in_step(mosquitto, device) as (hub, older), device("b").running() as newer:
        await until(older.session.fenced.is_set)
        assert "another agent has the name" in older.standing.now.fenced
        await until(lambda: newer.has("web"))
        await asyncio.sleep(1)
        assert newer.connected
        assert older.has("web")
        assert hub.sessions[-1].instance == newer.identity.instance
        assert hub.sessions[-1].online


async def test_the_older_one_goes_on_when_the_newer_one_is_gone(
    mosquitto: Mosquitto, device: Callable[..., Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yielding, "LOOK_AGAIN", (0.2, 0.4))
    monkeypatch.setattr(yielding, "ANSWER_SECONDS", 3)
    async with in_step(mosquitto, device) as (hub, older):
        async with device("b").running() as newer:
            await until(older.session.fenced.is_set)
            await asyncio.sleep(7)
            assert older.session.fenced.is_set(), "the newer one answers"
            assert newer.identity.counter == 1, "and its connection is left alone"
        await until(lambda: older.connected, within=20)
        await until(lambda: hub.sessions[-1].instance == older.identity.instance)
        await hub.want("db")
        await until(lambda: older.has("db"))


async def test_our_own_lost_past_at_the_broker_does_not_answer(
    mosquitto: Mosquitto, device: Callable[..., Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yielding, "ANSWER_SECONDS", 1)
    async with in_step(mosquitto, device) as (hub, one):
        await hub.raw(OURS.session, Session(True, "lost", 9, boot="boot-0").encode())
        await until(lambda: "asking" in one.standing.now.link)
        await until(lambda: one.connected and hub.sessions[-1].counter == 2)
        assert not one.session.fenced.is_set()


async def test_of_two_devices_from_one_image_one_goes_on(
    mosquitto: Mosquitto, device: Callable[..., Device], tmp_path: Path
) -> None:
    async with device().running() as first:
        await until(lambda: first.connected)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    one, two = device("a", boot="boot-a"), device("b", boot="boot-b")
    async with one.running():
        await until(lambda: one.connected)
        async with two.running():
            await until(
                lambda: one.session.fenced.is_set() or two.session.fenced.is_set(), within=90
            )
            await asyncio.sleep(3)
            assert one.session.fenced.is_set() != two.session.fenced.is_set()
            stays = one if two.session.fenced.is_set() else two
            await until(lambda: stays.connected)


async def test_a_late_will_is_put_right(
    mosquitto: Mosquitto, device: Callable[..., Device]
) -> None:
    async with in_step(mosquitto, device) as (hub, one):
        await hub.raw(OURS.session, Session(False, one.identity.instance, 0).encode())
        await until(lambda: len(hub.births) == 2 and hub.sessions[-1].online)


# paho leaves a socket whose handshake failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_wrong_authority_is_named_and_the_right_one_works(
    new_mosquitto: Callable[..., Mosquitto], certificates: Certificates, tmp_path: Path
) -> None:
    broker = new_mosquitto(tls=certificates)
    wrong = make(tmp_path / "wrong")
    bad = Device(link(broker, ca_file=str(wrong.ca)), tmp_path / "bad", SystemClock())
    async with bad.running():
        await until(lambda: "check mqtt-ca" in bad.standing.now.link)
    good = Device(link(broker, ca_file=str(certificates.ca)), tmp_path / "good", SystemClock())
    async with good.running():
        await until(lambda: good.connected)


async def test_missing_files_and_a_refused_password_are_told_and_harm_nothing(
    new_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = new_mosquitto(passwords={"edge-1": "right"})
    secret = tmp_path / "password"
    login = link(broker, username="edge-1", password_file=str(secret))
    device = Device(login, tmp_path / "a", SystemClock())
    async with device.running():
        await until(lambda: "No such file" in device.standing.now.link)
        assert str(secret) in device.standing.now.link
        secret.write_text("wrong\n")
        await until(lambda: "refused" in device.standing.now.link, within=30)
        secret.write_text("right\n")
        await until(lambda: device.connected, within=60)


def test_the_hostile_bytes_are_what_they_claim() -> None:
    assert Inventory.decode(VALID).revision == 9
    assert VALID in hostile()
