"""Two agents with one name: exactly one goes on, the newer one, for as long as it lives.

Over the broker model in virtual time; ``a`` and ``b`` are two disks, so two instances.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from edgeagent.session.rivals import Rivals, Verdict
from shared.messages import Session
from simulator.broker import Store
from tests.edge_session.conftest import Model
from tests.edge_session.rig import OURS, a_hub, until
from tests.parts.virtual_time import virtual


@virtual
async def test_the_older_one_is_told_and_stops_reporting(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device("a").running() as older:
        await hub.want("web")
        await until(lambda: older.has("web"))
        async with model.device("b").running() as newer:
            await until(older.session.fenced.is_set)
            assert "another agent has the name edge-1" in older.standing.now.fenced
            await older.report("web", phase="Failed")
            await until(lambda: newer.has("web"))
            await newer.report("web", phase="Running")
            await asyncio.sleep(120)
            assert newer.connected
            assert not newer.session.fenced.is_set()
            assert hub.newest("web") == {"phase": "Running"}
            assert hub.sessions[-1].online, "the older one published no death"
        assert older.has("web"), "its pods are left alone"


@virtual
async def test_one_that_was_away_meanwhile_finds_the_newer_one(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with model.device("a").running() as older:
        await until(lambda: older.connected)
        way = model.ways[-1]
        way.reachable = False
        way.cut()
        async with model.device("b", boot="boot-b").running() as newer:
            await until(lambda: newer.connected)
            await asyncio.sleep(60)
            way.reachable = True
            await until(older.session.fenced.is_set, within=120)
            await asyncio.sleep(60)
            assert newer.connected
            assert not newer.session.fenced.is_set()


@virtual
async def test_of_two_devices_from_one_disk_image_one_goes_on(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with model.device("a").running():
        pass
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    one, two = model.device("a", boot="boot-a"), model.device("b", boot="boot-b")
    async with one.running(), two.running():
        assert one.identity.instance == two.identity.instance
        await until(lambda: one.session.fenced.is_set() or two.session.fenced.is_set(), within=300)
        await asyncio.sleep(300)
        assert one.session.fenced.is_set() != two.session.fenced.is_set()
        assert (one if two.session.fenced.is_set() else two).connected


@virtual
async def test_two_that_start_together_do_not_both_give_up(tmp_path: Path) -> None:
    model = Model(tmp_path)
    one, two = model.device("a"), model.device("b")
    async with one.running(), two.running():
        await until(lambda: one.session.fenced.is_set() or two.session.fenced.is_set())
        await asyncio.sleep(120)
        assert one.session.fenced.is_set() != two.session.fenced.is_set()
        assert (one if two.session.fenced.is_set() else two).connected


@virtual
async def test_a_restart_takes_the_name_back(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with model.device("b").running() as other:
        await until(lambda: other.connected)
        async with model.device("a").running() as first:
            await until(other.session.fenced.is_set)
        async with model.device("a").running() as again:
            await until(lambda: again.connected)
            await asyncio.sleep(60)
            assert not again.session.fenced.is_set()
        assert first is not again


@virtual
async def test_the_one_that_gave_way_goes_on_when_the_other_is_gone(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device("a").running() as older:
        await hub.want("web")
        await until(lambda: older.has("web"))
        await older.report("web", phase="Running")
        async with model.device("b").running():
            await until(older.session.fenced.is_set)
        await until(lambda: older.connected, within=700)
        assert older.session.free.is_set()
        assert not older.session.fenced.is_set()
        assert not older.standing.now.fenced
        await older.report("web", phase="Failed")
        await until(lambda: hub.newest("web") == {"phase": "Failed"})


@virtual
async def test_the_one_that_gave_way_disturbs_the_other_one_seldom(tmp_path: Path) -> None:
    model = Model(tmp_path)
    asked: list[Session] = []
    async with a_hub(model.link()) as hub, model.device("a").running() as older:
        await until(lambda: older.connected)
        async with model.device("b").running(asked_by=asked.append) as newer:
            await until(older.session.fenced.is_set)
            await asyncio.sleep(24 * 3600)
            assert older.session.fenced.is_set()
            assert newer.connected
            assert newer.identity.counter == 1, "its connection was left alone"
            assert hub.sessions[-1].instance == newer.identity.instance
            assert 144 <= len(asked) <= 300, "every five to ten minutes"
            assert {one.instance for one in asked} == {older.identity.instance}
            older_link = model.ways[1]
            older_link.reachable = False
            await asyncio.sleep(3600)
            assert older.session.fenced.is_set(), "without a link nothing is known"


@virtual
async def test_our_own_lost_past_is_asked_after_and_does_not_answer(tmp_path: Path) -> None:
    """A disk was lost long ago; now the broker goes back to a store from before that."""
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device(boot="boot-2").running() as device:
        await until(lambda: device.connected)
        way = model.ways[-1]
        way.reachable = False
        way.cut()
        lost = Session(True, "lost", 9, boot="boot-1")
        await hub.raw(OURS.session, lost.encode())
        way.reachable = True
        await until(lambda: "asking" in device.standing.now.link)
        await until(lambda: device.connected, within=30)
        await asyncio.sleep(60)
        assert device.connected
        assert not device.session.fenced.is_set()
        assert hub.sessions[-1].instance == device.identity.instance
        await hub.raw(OURS.session, lost.encode())
        await until(lambda: hub.sessions[-1].instance == device.identity.instance)
        assert device.connected, "it is known now"


@virtual
async def test_a_birth_that_a_hub_puts_back_is_no_answer(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device(boot="boot-2").running() as device:
        await until(lambda: device.connected)
        lost = Session(True, "lost", 9, boot="boot-1")
        await hub.raw(OURS.session, lost.encode())
        await until(lambda: "asking" in device.standing.now.link)
        for _ in range(10):
            await hub.raw(OURS.session, lost.encode())
            await asyncio.sleep(1)
        await until(lambda: device.connected, within=30)
        assert not device.session.fenced.is_set()


@virtual
async def test_a_link_that_breaks_during_the_question_decides_nothing(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with model.device("a").running() as older:
        await until(lambda: older.connected)
        way = model.ways[-1]
        async with model.device("b").running() as newer:
            await until(lambda: newer.connected)
            way.reachable = False
            way.cut()
            await asyncio.sleep(600)
            assert not older.connected
            way.reachable = True
            await until(older.session.fenced.is_set, within=120)
            assert newer.connected


@pytest.mark.parametrize("cloned", [False, True])
@pytest.mark.parametrize("seed", range(10))
@virtual
async def test_after_any_bad_hour_one_goes_on_and_the_other_says_so(
    tmp_path: Path, cloned: bool, seed: int
) -> None:
    rng = random.Random(seed)
    model = Model(tmp_path)
    if cloned:
        async with model.device("a").running():
            pass
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    one, two = model.device("a", boot="boot-a"), model.device("b", boot="boot-b")
    async with one.running(), two.running():
        for _ in range(60):
            way = rng.choice(model.ways[-2:])
            way.reachable = rng.random() < 0.6
            if rng.random() < 0.7:
                way.cut()
            if rng.random() < 0.1:
                model.broker.take_snapshot()
            if rng.random() < 0.1:
                model.broker.crash()
                await asyncio.sleep(rng.expovariate(1 / 10))
                model.broker.start(rng.choice(list(Store)))
            await asyncio.sleep(rng.expovariate(1 / 60))
        for way in model.ways[-2:]:
            way.reachable = True
        await asyncio.sleep(1300)
        for _ in range(10):
            assert sorted([one.connected, two.connected]) == [False, True]
            gone = one if two.connected else two
            assert gone.session.fenced.is_set()
            assert "give one of the two another node-name" in gone.standing.now.line()
            await asyncio.sleep(600)
        assert (one if two.connected else two) is gone, "and it stays so"


@virtual
async def test_a_reboot_of_the_same_device_is_no_rival(tmp_path: Path) -> None:
    model = Model(tmp_path)
    for boot in ("boot-1", "boot-2", "boot-3"):
        async with model.device(boot=boot).running() as device:
            await until(lambda: device.connected)
            await asyncio.sleep(30)
            assert not device.session.fenced.is_set()
            model.ways[-1].cut()
            await asyncio.sleep(1)


ME, OTHER, CLONE = ("i1", "b1"), ("i2", "b2"), ("i1", "b9")


def birth(who: tuple[str, str], counter: int) -> Session:
    return Session(True, who[0], counter, boot=who[1])


def connected(*, lived: bool) -> Rivals:
    """A second connection, or a first one; its birth is not published yet."""
    rivals = Rivals(instance=ME[0], boot=ME[1])
    if lived:
        rivals.connecting(1)
        rivals.publishing()
        rivals.judge(birth(ME, 1), retained=False)
    rivals.connecting(2)
    return rivals


@pytest.mark.parametrize("other", [OTHER, CLONE])
def test_what_was_there_before_our_first_birth_is_older(other: tuple[str, str]) -> None:
    rivals = connected(lived=False)
    assert rivals.judge(birth(other, 9), retained=True) is Verdict.NOTHING
    rivals.publishing()
    assert rivals.judge(birth(other, 9), retained=False) is Verdict.NOTHING
    rivals.judge(birth(ME, 2), retained=False)
    assert rivals.judge(birth(other, 9), retained=False) is Verdict.REPEAT, "somebody put it back"
    rivals.connecting(3)
    assert rivals.judge(birth(other, 9), retained=True) is Verdict.NOTHING, "an older store"


def test_an_earlier_boot_of_ours_is_no_rival_whenever_it_comes() -> None:
    """A broker that went back to an older store shows births that we never saw there."""
    rivals = connected(lived=True)
    assert rivals.judge(birth(CLONE, 1), retained=True) is Verdict.NOTHING
    rivals.publishing()
    rivals.judge(birth(ME, 2), retained=False)
    assert rivals.judge(birth(CLONE, 1), retained=False) is Verdict.REPEAT


def test_an_earlier_boot_of_the_instance_before_ours_is_no_rival_either() -> None:
    """The disk was lost after a reboot; then the broker went back to a store from before that."""
    rivals = connected(lived=False)
    rivals.judge(birth(OTHER, 2), retained=True)
    rivals.publishing()
    rivals.judge(birth(ME, 2), retained=False)
    before = birth((OTHER[0], "b8"), 1)
    assert rivals.judge(before, retained=False) is Verdict.REPEAT
    rivals.connecting(3)
    assert rivals.judge(before, retained=True) is Verdict.NOTHING
    assert rivals.judge(birth((OTHER[0], "b8"), 3), retained=True) is Verdict.RIVAL


@pytest.mark.parametrize("other", [OTHER, CLONE])
def test_who_took_our_place_while_we_were_away_is_asked_after(other: tuple[str, str]) -> None:
    rivals = connected(lived=True)
    assert rivals.judge(birth(other, 8), retained=False) is Verdict.NOTHING, "it may be old"
    assert rivals.judge(birth(other, 9), retained=True) is Verdict.RIVAL
    rivals.alone()
    rivals.connecting(3)
    assert rivals.judge(birth(other, 9), retained=True) is Verdict.NOTHING, "nobody answered"
    rivals.publishing()
    rivals.judge(birth(ME, 3), retained=False)
    assert rivals.judge(birth(other, 10), retained=False) is Verdict.RIVAL


@pytest.mark.parametrize("other", [OTHER, CLONE])
@pytest.mark.parametrize("lived", [True, False])
def test_the_order_at_the_broker_decides(other: tuple[str, str], lived: bool) -> None:
    rivals = connected(lived=lived)
    rivals.publishing()
    assert rivals.judge(birth(other, 2), retained=False) is Verdict.NOTHING, (
        "it came to the broker before ours"
    )
    assert rivals.judge(birth(ME, 2), retained=False) is Verdict.NOTHING
    assert rivals.judge(birth(other, 2), retained=False) is Verdict.RIVAL


def test_who_is_past_by_its_counter_and_comes_twice_may_live() -> None:
    """Else two that lost their counters would repeat their births for ever."""
    rivals = connected(lived=False)
    rivals.judge(birth(OTHER, 9), retained=True)
    rivals.publishing()
    rivals.judge(birth(ME, 2), retained=False)
    assert rivals.judge(birth(OTHER, 3), retained=False) is Verdict.REPEAT
    assert rivals.judge(birth(OTHER, 3), retained=False) is Verdict.RIVAL


def test_only_who_was_born_answers_and_nobody_answers_itself() -> None:
    rivals = connected(lived=True)
    question = Session(False, OTHER[0], 7, boot=OTHER[1], question=5)
    assert rivals.judge(question, retained=False) is Verdict.NOTHING
    rivals.publishing()
    assert rivals.judge(question, retained=False) is Verdict.ANSWER
    assert rivals.judge(question, retained=True) is Verdict.NOTHING, "it was asked long ago"
    own = Session(False, ME[0], 1, boot=ME[1], question=5)
    assert rivals.judge(own, retained=False) is Verdict.NOTHING
    cloned = Session(False, ME[0], 1, boot="b9", question=5)
    assert rivals.judge(cloned, retained=False) is Verdict.ANSWER


def test_our_own_older_births_are_nothing_and_deaths_are_put_right() -> None:
    rivals = connected(lived=True)
    assert rivals.judge(birth(ME, 1), retained=True) is Verdict.NOTHING
    assert rivals.judge(Session(False, ME[0], 1), retained=False) is Verdict.NOTHING
    rivals.publishing()
    rivals.judge(birth(ME, 2), retained=False)
    for counter in (1, 2):
        assert rivals.judge(Session(False, ME[0], counter), retained=False) is Verdict.REPEAT
    assert rivals.judge(Session(False, OTHER[0], 2), retained=False) is Verdict.REPEAT


@virtual
async def test_the_question_of_a_hub_is_answered_and_is_no_sign_of_a_rival(tmp_path: Path) -> None:
    model = Model(tmp_path)
    rivals: list[Session] = []
    async with (
        a_hub(model.link()) as hub,
        model.device("a").running(asked_by=rivals.append) as device,
    ):
        await until(lambda: device.connected and hub.births)
        question = Session(False, "", 0, question=5)
        await hub.connection.publish(OURS.session, question.encode(), expiry=60)
        await until(lambda: hub.births[-1].question == 5)
        assert len(hub.births) == 2 and not rivals
