"""A device's tokens through connections, restarts and expiry, on a virtual clock."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeagent.desired import Body, DesiredSet
from edgeagent.pods.held import HeldPod
from edgeagent.pods.materials.sources import Missing
from edgeagent.pods.model.podevents import PodEvent
from edgeagent.store import records
from edgeagent.store.database import Database
from edgeagent.store.executor import InlineExecutor
from edgeagent.tokens import DeviceTokens, _requests
from shared import codec
from shared.asking import TokenAnswer, TokenRequest
from shared.messages import Entry, Inventory
from shared.objects import Json, ObjectKey
from shared.tasks import stop
from simulator.clock import SimClock
from simulator.loop import VirtualLoop

LIFE = 3600


class Users:
    """Stands for the pod machine: remembers what it was told."""

    def __init__(self) -> None:
        self.ended: set[str] = set()
        self.refreshed: list[str] = []
        self.events: list[tuple[str, PodEvent]] = []

    def held(self) -> list[HeldPod]:
        return [HeldPod(uid, {}, ended=True) for uid in self.ended]

    def refresh(self, uid: str) -> None:
        self.refreshed.append(uid)

    def tell(self, uid: str, event: PodEvent) -> bool:
        self.events.append((uid, event))
        return True


class Device:
    def __init__(self, folder: Path, clock: SimClock) -> None:
        self.folder, self.clock = folder, clock
        self.desired = DesiredSet()
        self.users = Users()
        self.pods: dict[str, Json] = {}
        self.asked: list[tuple[float, TokenRequest]] = []
        self.tokens: DeviceTokens
        self._tasks: list[asyncio.Task[Any]] = []
        self._given = 0

    async def start(self) -> None:
        self._database = Database(self.folder, executor=InlineExecutor())
        await self._database.open()
        self.tokens = DeviceTokens(
            self.desired,
            records=records.tokens(self._database),
            clock=self.clock,
            rng=random.Random(1),
        )
        await self.tokens.load()
        self.desired.subscribe(lambda keys: self.tokens.changed(keys))
        self._tasks = [asyncio.create_task(self.tokens.run(self.users))]

    async def stop(self) -> None:
        await stop(*self._tasks)
        await self._database.close()

    def want(self, *pods: Json, grace: int | None = None) -> None:
        packed = {ObjectKey.of("Pod", pod): codec.pack(pod) for pod in pods}
        entries = {key: Entry(codec.digest(one), grace) for key, one in packed.items()}
        revision = self.desired.revision + 1
        bodies = {key: Body.of(one) for key, one in packed.items()}
        self.desired.replace(self.desired.desired.accept(Inventory(revision, entries), bodies))

    def connect(self, *, hub: bool = True, answers: bool = True) -> None:
        """From now on what is due is asked, and answered if the hub answers."""
        self.tokens.linked(True)
        self.tokens.hub(hub)
        self._tasks.append(asyncio.create_task(self._session(answers)))

    async def disconnect(self) -> None:
        await stop(self._tasks.pop())
        self.tokens.linked(False)

    async def _session(self, answers: bool) -> None:
        while True:
            for request in self.tokens.due():
                self.asked.append((self.clock.monotonic(), request))
                if answers:
                    self.give(request)
            pause = self.tokens.pause()
            try:
                async with asyncio.timeout(pause):
                    await self.tokens.wanting.wait()
            except TimeoutError:
                continue
            self.tokens.wanting.clear()

    def give(self, request: TokenRequest, *, life: int = LIFE) -> None:
        self._given += 1
        expires = int(self.clock.now()) + life
        self.tokens.take(request.correlation, TokenAnswer(f"token-{self._given}", expires, life))

    def has(self, pod: Json) -> str:
        return self.tokens.token(pod, audience="", seconds=LIFE).decode()


def pod(name: str = "web") -> Json:
    sources = [{"serviceAccountToken": {"path": "token", "expirationSeconds": LIFE}}]
    return {
        "metadata": {"namespace": "default", "name": name, "uid": f"uid-{name}"},
        "spec": {
            "containers": [{"name": "main", "image": "busybox"}],
            "volumes": [{"name": "access", "projected": {"sources": sources}}],
        },
    }


def request_of(pod: Json) -> TokenRequest:
    return TokenRequest.of(pod, audience="", seconds=LIFE)


Story = Callable[[Device], Awaitable[None]]


@pytest.fixture
def on_device(tmp_path: Path) -> Iterator[Callable[[Story], None]]:
    loop = VirtualLoop(random.Random(1))

    def play(story: Story) -> None:
        async def tell() -> None:
            device = Device(tmp_path / "data", SimClock(loop))
            await device.start()
            try:
                async with asyncio.timeout(10_000_000):
                    await story(device)
            finally:
                await device.stop()

        loop.run_until_complete(tell())

    asyncio.set_event_loop(loop)
    yield play
    asyncio.set_event_loop(None)
    loop.close()


Play = Callable[[Story], None]


def test_a_token_is_asked_as_soon_as_the_pod_is_here_and_the_pod_is_told(on_device: Play) -> None:
    async def story(device: Device) -> None:
        device.connect()
        device.want(pod())
        await asyncio.sleep(0.01)
        assert [request for _, request in device.asked] == [request_of(pod())]
        assert device.has(pod()) == "token-1"
        assert device.users.refreshed == ["uid-web"]

    on_device(story)


def test_who_prepares_volumes_waits_just_until_the_token_comes(on_device: Play) -> None:
    async def story(device: Device) -> None:
        device.connect(answers=False)
        device.want(pod())
        waiting = asyncio.create_task(device.tokens.ready(pod()))
        await asyncio.sleep(1)
        assert not waiting.done()
        device.give(request_of(pod()))
        await asyncio.sleep(0.01)
        assert waiting.done()

    on_device(story)


@pytest.mark.parametrize("why", ["offline", "no hub", "refused", "patience"])
def test_a_wait_without_hope_ends_and_the_reason_is_told(on_device: Play, why: str) -> None:
    expected = {
        "offline": "not connected",
        "no hub": "no hub is there",
        "refused": "no such pod",
        "patience": "not answered yet",
    }

    async def story(device: Device) -> None:
        if why != "offline":
            device.connect(hub=why != "no hub", answers=False)
        device.want(pod())
        await asyncio.sleep(0.01)
        if why == "refused":
            answer = TokenAnswer(error="no such pod on this node", permanent=True)
            device.tokens.take(request_of(pod()).correlation, answer)
        before = device.clock.monotonic()
        await device.tokens.ready(pod())
        assert device.clock.monotonic() - before <= (5.1 if why == "patience" else 0.01)
        with pytest.raises(Missing, match=expected[why]):
            device.has(pod())

    on_device(story)


def test_a_token_is_renewed_in_time_and_the_pod_gets_the_new_one(on_device: Play) -> None:
    async def story(device: Device) -> None:
        device.connect()
        device.want(pod())
        await asyncio.sleep(0.8 * LIFE - 30)
        assert device.has(pod()) == "token-1"
        await asyncio.sleep(31)
        assert device.has(pod()) == "token-2"
        assert device.users.refreshed == ["uid-web", "uid-web"]
        first, second = (at for at, _ in device.asked)
        assert 0.8 * LIFE - 10 <= second - first <= 0.8 * LIFE
        await asyncio.sleep(86_400)
        assert len(device.asked) == 2 + 86_400 * 10 // (8 * LIFE)
        assert not device.users.events

    on_device(story)


def test_offline_it_serves_until_its_end_and_beyond_and_an_event_says_so_once(
    on_device: Play,
) -> None:
    async def story(device: Device) -> None:
        device.connect()
        device.want(pod())
        await asyncio.sleep(1)
        await device.disconnect()
        await asyncio.sleep(LIFE - 60)
        assert not device.users.events
        await asyncio.sleep(10 * LIFE)
        assert device.has(pod()) == "token-1"
        [(uid, event)] = device.users.events
        assert (uid, event.type, event.reason) == ("uid-web", "Warning", "TokenExpired")
        device.connect()
        await asyncio.sleep(1)
        assert device.has(pod()) == "token-2"

    on_device(story)


def test_a_restart_without_a_link_finds_the_token(on_device: Play) -> None:
    async def story(device: Device) -> None:
        device.connect()
        device.want(pod())
        await asyncio.sleep(100)
        await device.disconnect()
        await device.stop()
        await device.start()
        assert device.has(pod()) == "token-1"
        device.connect()
        await asyncio.sleep(0.8 * LIFE - 100 - 30)
        assert len(device.asked) == 1, "its age was not forgotten"
        await asyncio.sleep(60)
        assert device.has(pod()) == "token-2"

    on_device(story)


def test_the_tokens_of_a_pod_that_is_gone_are_dropped_from_disk(on_device: Play) -> None:
    async def story(device: Device) -> None:
        device.connect()
        device.want(pod(), pod("other"))
        await asyncio.sleep(1)
        device.want(pod("other"))
        await asyncio.sleep(1)
        await device.stop()
        await device.start()
        assert device.has(pod("other"))
        with pytest.raises(Missing):
            device.has(pod())

    on_device(story)


def test_for_pods_that_end_or_are_being_deleted_nothing_is_asked(on_device: Play) -> None:
    async def story(device: Device) -> None:
        device.connect()
        device.want(pod("leaving"), grace=30)
        await asyncio.sleep(10)
        assert not device.asked
        device.want(pod("job"))
        await asyncio.sleep(10)
        device.users.ended.add("uid-job")
        await asyncio.sleep(10 * LIFE)
        assert len(device.asked) == 1

    on_device(story)


def test_without_answers_it_is_asked_again_ever_more_seldom(on_device: Play) -> None:
    async def story(device: Device) -> None:
        device.connect(answers=False)
        device.want(pod())
        await asyncio.sleep(86_400)
        times = [at for at, _ in device.asked]
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert 2.5 <= pauses[0] <= 5
        assert all(150 <= pause <= 300 for pause in pauses[8:])
        assert pauses[8:]

    on_device(story)


def test_a_refusal_is_final_until_another_hub_or_connection(on_device: Play) -> None:
    async def story(device: Device) -> None:
        device.connect(answers=False)
        device.want(pod())
        await asyncio.sleep(0.1)
        refused = TokenAnswer(error="no", permanent=True)
        device.tokens.take(request_of(pod()).correlation, refused)
        await asyncio.sleep(86_400)
        assert len(device.asked) == 1
        device.tokens.hub(False)
        device.tokens.hub(True)
        await asyncio.sleep(1)
        assert len(device.asked) == 2

    on_device(story)


def test_a_hint_to_wait_is_heeded(on_device: Play) -> None:
    async def story(device: Device) -> None:
        device.connect(answers=False)
        device.want(pod())
        await asyncio.sleep(0.1)
        later = TokenAnswer(error="the API server is away", retry_after=60)
        device.tokens.take(request_of(pod()).correlation, later)
        await asyncio.sleep(59)
        assert len(device.asked) == 1
        await asyncio.sleep(10)
        assert len(device.asked) == 2

    on_device(story)


def test_nothing_is_asked_while_no_hub_is_there(on_device: Play) -> None:
    async def story(device: Device) -> None:
        device.connect(hub=False)
        device.want(pod())
        await asyncio.sleep(1000)
        assert not device.asked
        device.tokens.hub(True)
        await asyncio.sleep(0.1)
        assert device.has(pod()) == "token-1"

    on_device(story)


def test_an_answer_that_nobody_waits_for_changes_nothing(on_device: Play) -> None:
    async def story(device: Device) -> None:
        device.connect()
        device.want(pod())
        await asyncio.sleep(1)
        device.give(request_of(pod()))
        device.give(request_of(pod("stranger")))
        assert device.has(pod()) == "token-1"
        assert device.users.refreshed == ["uid-web"]

    on_device(story)


@pytest.mark.parametrize(
    "spec", [{"serviceAccountName": ["x"]}, {"seconds": float("inf")}, {"seconds": 1e30}]
)
def test_a_pod_whose_tokens_are_not_what_the_api_lets_pass_asks_for_none(spec: Json) -> None:
    """It would end the agent, and be there at its next start."""
    seconds = spec.pop("seconds", 3600)
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": seconds}}
    volumes = [{"name": "v", "projected": {"sources": [source]}}]
    metadata = {"name": "web", "namespace": "default", "uid": "u"}
    pod = {"metadata": metadata, "spec": {"serviceAccountName": "sa", "volumes": volumes, **spec}}
    assert _requests(pod) == []


def test_what_expired_while_the_device_was_off_is_renewed_when_the_clock_tells(
    on_device: Play,
) -> None:
    """Without a clock of its own it boots with the time at which it went off."""

    async def story(device: Device) -> None:
        device.connect()
        device.want(pod())
        await asyncio.sleep(600)
        await device.disconnect()
        await device.stop()
        off = 3 * 86_400.0
        await asyncio.sleep(off)
        device.clock.offset = -off
        await device.start()
        device.connect()
        await asyncio.sleep(120)
        assert len(device.asked) == 1, "nothing tells yet that it is so old"
        device.clock.offset = 0.0
        await asyncio.sleep(61)
        assert len(device.asked) == 2
        assert device.has(pod()) == "token-2"
        device.clock.offset = 10 * LIFE
        await asyncio.sleep(600)
        assert len(device.asked) == 2, "a clock that is ahead costs one more at most"

    on_device(story)
