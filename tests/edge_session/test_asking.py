"""A device asks a hub for a token, over the broker model in virtual time; the hub is a script."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from edgeagent.pods.materials.sources import Missing
from shared import codec
from shared.asking import TokenAnswer, TokenRequest
from shared.objects import Json
from tests.edge_session.conftest import Model
from tests.edge_session.rig import OURS, Device, a_hub, pod, until
from tests.parts.virtual_time import virtual

LIFE = 3600


def with_token(name: str) -> Json:
    made = pod(name)
    sources = [{"serviceAccountToken": {"path": "token", "expirationSeconds": LIFE}}]
    made["spec"]["volumes"] = [{"name": "access", "projected": {"sources": sources}}]
    return made


BODIES = {name: with_token(name) for name in ("web", "db")}
WEB = TokenRequest.of(BODIES["web"], audience="", seconds=LIFE)


def token_of(device: Device) -> str:
    return device.tokens.token(BODIES["web"], audience="", seconds=LIFE).decode()


def holds(device: Device, text: str) -> bool:
    with contextlib.suppress(Missing):
        return token_of(device) == text
    return False


def good(text: str) -> bytes:
    return TokenAnswer(text, 2_000_000_000, LIFE).encode()


@virtual
async def test_a_token_is_one_question_and_one_answer(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await hub.present(True)
        await until(lambda: device.connected)
        await hub.want("web", bodies=BODIES)
        await until(lambda: hub.asks)
        [ask] = hub.asks
        assert TokenRequest.decode(ask.payload) == WEB
        assert (ask.response_topic, ask.correlation) == (OURS.answer, WEB.correlation)
        assert not ask.retained
        await hub.answer(ask, good("abc"))
        await until(lambda: holds(device, "abc"))
        await asyncio.sleep(1000)
        assert len(hub.asks) == 1


@virtual
async def test_without_a_hub_there_is_no_question_until_one_comes(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await hub.want("web", bodies=BODIES)
        await until(lambda: device.has("web"))
        await asyncio.sleep(600)
        assert not hub.asks
        with pytest.raises(Missing, match="no hub is there"):
            token_of(device)
        await hub.present(True)
        await until(lambda: hub.asks)


@virtual
async def test_what_was_not_answered_is_asked_again_at_the_next_connection(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await hub.present(True)
        await hub.want("web", bodies=BODIES)
        await until(lambda: hub.asks)
        model.ways[-1].cut()
        await until(lambda: not device.connected)
        with pytest.raises(Missing, match="not connected"):
            token_of(device)
        await until(lambda: len(hub.asks) == 2)
        await hub.answer(hub.asks[-1], good("abc"))
        await until(lambda: holds(device, "abc"))


@virtual
async def test_an_answer_that_came_while_the_link_was_away_still_counts(tmp_path: Path) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await hub.present(True)
        await hub.want("web", bodies=BODIES)
        await until(lambda: hub.asks)
        model.ways[-1].cut()
        await hub.answer(hub.asks[0], good("abc"))
        await until(lambda: device.connected and holds(device, "abc"))


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x00", b"\x01garbage", codec.encode({"t": "abc"}), codec.encode({"t": 7, "x": 1})],
)
@virtual
async def test_garbage_for_an_answer_is_counted_and_asked_again(
    tmp_path: Path, payload: bytes
) -> None:
    model = Model(tmp_path)
    async with a_hub(model.link()) as hub, model.device().running() as device:
        await hub.present(True)
        await hub.want("web", bodies=BODIES)
        await until(lambda: hub.asks)
        await hub.answer(hub.asks[0], payload)
        await until(lambda: len(hub.asks) == 2)
        assert bool(device.rejections.counts) == bool(payload)
        assert device.connected
        await hub.answer(hub.asks[-1], good("abc"))
        await until(lambda: holds(device, "abc"))
