"""Asks over the broker to the hub and the answers back, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from cloudhub.kube.port import SERVICE_ACCOUNTS
from cloudhub.tokens import CONCURRENT
from shared import codec
from shared.asking import TokenAnswer, TokenRequest
from shared.errors import KubeError, KubeRefused
from shared.link import Connection, ConnectOptions, Message, Subscription
from shared.objects import Json
from shared.topics import Topics
from simulator.network import Path
from simulator.sim_link import SimLink
from tests.hub_delivery.world import NODE, Hub, World, in_world

TOPICS = Topics()
SOURCES = [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}]
VOLUMES = [{"name": "access", "projected": {"sources": SOURCES}}]


class Asker:
    """A connection under a node's name."""

    def __init__(self, connection: Connection) -> None:
        self.topics = TOPICS.of(NODE)
        self.connection = connection
        self.answers: list[Message] = []

    async def read(self) -> None:
        async for message in self.connection.messages():
            self.connection.ack(message)
            self.answers.append(message)

    def ask(self, payload: bytes, *, answer: str = "", correlation: bytes = b"1") -> None:
        self.connection.publish(
            self.topics.ask_token,
            payload,
            expiry=60,
            response_topic=answer or self.topics.answer,
            correlation=correlation,
        )

    def told(self) -> list[TokenAnswer]:
        return [TokenAnswer.decode(one.payload) for one in self.answers]


def story_of(told: Any) -> None:
    """Plays ``told(world, hub, asker, pod)``: one pod with one token, hub and asker connected."""

    async def story(world: World) -> None:
        hub = world.hub()
        await world.kube.create(SERVICE_ACCOUNTS, "default", {"metadata": {"name": "default"}})
        pod = await world.pod("web", volumes=VOLUMES)
        link = SimLink(world.broker, Path(world.broker.rng, latency=(0.001, 0.002)))
        async with link.connect(ConnectOptions("asker", True, 0, 60, 100)) as connection:
            asker = Asker(connection)
            reading = asyncio.create_task(asker.read())
            await connection.subscribe([Subscription(asker.topics.answer)])
            await world.quiet()
            try:
                await told(world, hub, asker, pod)
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    in_world(story)


def request_of(pod: Json) -> TokenRequest:
    return TokenRequest.of(pod, audience="", seconds=3607)


def test_a_token_comes_back_under_its_correlation_and_is_kept_by_nobody() -> None:
    async def told(world: World, hub: Hub, asker: Asker, pod: Json) -> None:
        asker.ask(request_of(pod).encode(), correlation=b"mine")
        sent = await world.quiet()
        assert [one.correlation for one in asker.answers] == [b"mine"]
        [answer] = asker.told()
        assert answer.token.startswith(f"default.{pod['metadata']['uid']}")
        assert 3600 <= answer.life <= 3607
        kept = [topic for topic, _ in world.broker.retained.items()]
        assert not [topic for topic in kept if topic.endswith(("answer", "ask/token"))]
        assert all(one.expires is not None for one in sent)
        assert b'kubetide_hub_tokens_total{outcome="issued"} 1.0' in hub.metrics.text()

    story_of(told)


def test_what_is_asked_twice_at_once_is_made_once() -> None:
    async def told(world: World, hub: Hub, asker: Asker, pod: Json) -> None:
        for _ in range(3):
            asker.ask(request_of(pod).encode())
        await world.quiet()
        made = [one for one in world.kube.requests if one[1] == "serviceaccounts/token"]
        assert 1 <= len(made) == len(asker.told()) <= 3

    story_of(told)


def test_a_foreign_pod_is_refused_counted_and_not_asked_of_the_api() -> None:
    async def told(world: World, hub: Hub, asker: Asker, pod: Json) -> None:
        foreign = await world.pod("theirs", node="edge-2", volumes=VOLUMES)
        asker.ask(request_of(foreign).encode())
        await world.quiet()
        [answer] = asker.told()
        assert answer.permanent
        assert not [one for one in world.kube.requests if one[1] == "serviceaccounts/token"]
        assert b'kubetide_hub_tokens_total{outcome="refused"} 1.0' in hub.metrics.text()

    story_of(told)


def test_an_answer_goes_to_nobody_but_the_node() -> None:
    async def told(world: World, hub: Hub, asker: Asker, pod: Json) -> None:
        asker.ask(request_of(pod).encode(), answer=TOPICS.of("edge-2").answer)
        asker.ask(request_of(pod).encode(), correlation=b"x" * 65)
        sent = await world.quiet()
        assert not [one for one in sent if one.topic.endswith("answer")]
        assert b"rejected_messages_total{reason=" in hub.metrics.text()

    story_of(told)


@pytest.mark.parametrize(
    "payload", [b"", b"\x00", codec.encode({}), codec.encode({"n": "default"})[:-2]]
)
def test_garbage_is_counted_and_not_answered(payload: bytes) -> None:
    async def told(world: World, hub: Hub, asker: Asker, pod: Json) -> None:
        asker.ask(payload)
        await world.quiet()
        assert not asker.answers
        assert b"rejected_messages_total{reason=" in hub.metrics.text()

    story_of(told)


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (KubeError("away"), False),
        (KubeRefused("bad", status=422), True),
        (LookupError("nobody expects this"), False),
    ],
)
def test_what_the_api_says_is_passed_on(error: Exception, permanent: bool) -> None:
    async def told(world: World, hub: Hub, asker: Asker, pod: Json) -> None:
        def fail(verb: str, resource: Any, name: str) -> None:
            if resource is SERVICE_ACCOUNTS:
                raise error

        world.kube.fail = fail
        asker.ask(request_of(pod).encode())
        await world.quiet()
        assert [one.permanent for one in asker.told()] == [permanent]

    story_of(told)


def test_a_bounded_number_of_requests_is_under_way() -> None:
    async def told(world: World, hub: Hub, asker: Asker, pod: Json) -> None:
        pods = [await world.pod(f"web-{number}", volumes=VOLUMES) for number in range(40)]
        await world.quiet()
        under_way = most = 0
        make = world.kube.create

        async def slowly(*args: Any, **options: Any) -> Json:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.1)
            under_way -= 1
            return await make(*args, **options)

        world.kube.create = slowly  # type: ignore[method-assign]
        for one in pods:
            asker.ask(request_of(one).encode(), correlation=one["metadata"]["uid"].encode())
        await world.quiet(10)
        assert most == CONCURRENT
        assert len({one.token for one in asker.told()}) == 40

    story_of(told)


def test_refusals_are_logged_now_and_then_only() -> None:
    """A device asks as often as it likes."""

    async def told(world: World, hub: Hub, asker: Asker, pod: Json) -> None:
        foreign = await world.pod("theirs", node="edge-2", volumes=VOLUMES)
        with capture_logs() as logs:
            for _ in range(20):
                asker.ask(request_of(foreign).encode())
            await world.quiet()
        assert len(asker.told()) == 20
        assert len([one for one in logs if one["event"] == "token not given"]) == 1

    story_of(told)
