"""Links that lose, delay and squeeze what goes over them, with the device in a network of its own.

The short part is for CI; what waits for keep-alive and Will takes minutes and runs with the soak.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable

import pytest

from devcluster.containerd import Containerd
from tests.parts.bad_link import DEAD, GOOD, BadLink, Quality
from tests.parts.kubernetes import Cluster
from tests.parts.mosquitto import Mosquitto
from tests.parts.system import System, running_system
from tests.parts.view import container_of, is_ready, restarts_of

SOAK = [pytest.mark.soak, pytest.mark.timeout(1200)]

LOSSY = Quality(loss=0.2)
FAR = Quality(delay=2.0)
"""One way: four seconds from a question to its answer."""
NARROW = Quality(rate=50_000)
WORST = Quality(loss=0.1, delay=1.0, rate=50_000)


@pytest.fixture
async def system(
    cloud: Cluster, new_mosquitto: Callable[..., Mosquitto], mortal: Containerd, bad_link: BadLink
) -> AsyncIterator[System]:
    broker = new_mosquitto(device_host=bad_link.host)
    async with running_system(
        kubeconfig=str(cloud.kubeconfig_path),
        broker=broker,
        containerd=mortal,
        bad_link=bad_link,
    ) as running:
        await running.node_is("True")
        yield running


@pytest.mark.parametrize(
    ("quality", "most"),
    [
        pytest.param(LOSSY, 80, id="a fifth of the packets lost"),
        pytest.param(FAR, 30, id="two seconds each way"),
        pytest.param(NARROW, 20, id="50 kbit per second"),
        pytest.param(WORST, 90, id="all at once"),
    ],
)
async def test_a_pod_lives_its_life_over_a_bad_link(
    system: System, bad_link: BadLink, quality: Quality, most: float
) -> None:
    await system.create_pod("before")
    await system.running("before")
    bad_link.shape(up=quality, down=quality)
    began = time.monotonic()
    await system.create_pod("web")
    await system.running("web", within=most)
    running = time.monotonic()
    await system.delete_pod("web")
    await system.gone("web", within=most)
    gone = time.monotonic()
    seen, lost = bad_link.counted()
    print(f"create → Ready {running - began:.1f} s, delete → gone {gone - running:.1f} s,")
    print(f"{seen} packets, {lost} lost")
    if quality.delay:
        assert running - began > 2 * quality.delay, "the link is not as slow as it is said to be"
    assert restarts_of(system.view.pods["before"]) == 0
    await system.status_says("link:     connected, for")


@pytest.mark.parametrize(
    "quality",
    [
        pytest.param(LOSSY, id="a fifth of the packets lost"),
        pytest.param(FAR, id="two seconds each way", marks=SOAK),
        pytest.param(NARROW, id="50 kbit per second", marks=SOAK),
        pytest.param(WORST, id="all at once", marks=SOAK),
    ],
)
async def test_a_device_connects_and_catches_up_over_a_bad_link(
    system: System, bad_link: BadLink, quality: Quality
) -> None:
    await system.create_pod("stays")
    await system.create_pod("goes")
    await system.running("stays", "goes")
    kept = container_of(system.view.pods["stays"])["containerID"]
    await system.agent.stop()
    bad_link.shape(up=quality, down=quality)
    await system.delete_pod("goes", grace=0)
    for number in range(3):
        await system.create_pod(f"comes-{number}")
    began = time.monotonic()
    await system.agent.start()
    await system.status_says("link:     connected, for", within=120)
    ready = time.monotonic()
    await system.running("stays", *(f"comes-{number}" for number in range(3)), within=120)
    done = time.monotonic()
    print(f"agent start → connected {ready - began:.1f} s, → all told {done - began:.1f} s")
    assert container_of(system.view.pods["stays"])["containerID"] == kept
    bad_link.shape(up=GOOD, down=GOOD)
    await system.only_run("stays", *(f"comes-{number}" for number in range(3)))


async def test_a_cable_that_is_out_for_some_seconds_is_no_event(
    system: System, bad_link: BadLink
) -> None:
    """TCP outlasts it: nobody reconnects, and what was said meanwhile arrives."""
    await system.create_pod("web")
    await system.running("web")
    before = system.running_ids()
    bad_link.unplug()
    await system.create_pod("meanwhile")
    await asyncio.sleep(5)
    assert "meanwhile" in system.view.pods and not is_ready(system.view.pods["meanwhile"])
    bad_link.plug()
    began = time.monotonic()
    await system.running("meanwhile")
    print(f"plugged in again → the pod made meanwhile is Ready {time.monotonic() - began:.1f} s")
    assert before <= system.running_ids()
    await system.node_is("True")


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("up", "down"),
    [
        pytest.param(DEAD, DEAD, id="both ways"),
        pytest.param(DEAD, GOOD, id="what the device says is lost"),
        pytest.param(GOOD, DEAD, id="what the device is told is lost"),
    ],
)
async def test_packets_vanish_without_a_word(
    system: System, bad_link: BadLink, up: Quality, down: Quality
) -> None:
    """Half-open: keep-alive is the only witness, 60 s on the device and 90 s in the broker."""
    for name in ("stays", "crashes", "goes"):
        await system.create_pod(name)
    await system.running("stays", "crashes", "goes")
    kept = container_of(system.view.pods["stays"])["containerID"]
    bad_link.shape(up=up, down=down)
    began = time.monotonic()

    async def noticed_here() -> float:
        await system.status_says(
            "link:     not connected: ", "lost: Keep alive timeout", within=150
        )
        return time.monotonic() - began

    async def noticed_there() -> float:
        await system.node_is("Unknown", within=180)
        return time.monotonic() - began

    here, there = await asyncio.gather(noticed_here(), noticed_there())
    system.kill_container(container_of(system.view.pods["crashes"])["containerID"])
    await system.delete_pod("goes")
    await system.create_pod("comes")
    await system.status_says(
        "pods:     3 wanted", " is not known here", "kept on disk", "hub:      not known while"
    )
    bad_link.shape(up=GOOD, down=GOOD)
    restored = time.monotonic()
    await system.running("comes", within=120)
    await system.gone("goes", within=120)
    await system.view.until(
        "the restart is reported",
        lambda: is_ready(pod := system.view.pods["crashes"]) and restarts_of(pod) == 1,
        within=120,
    )
    print(f"the device knows after {here:.0f} s, the cloud after {there:.0f} s;")
    print(f"good again → all told {time.monotonic() - restored:.0f} s")
    assert container_of(system.view.pods["stays"])["containerID"] == kept
    await system.status_says("link:     connected, for", "all delivered to the broker")


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_a_cable_that_comes_and_goes_for_minutes(system: System, bad_link: BadLink) -> None:
    """Packets vanish for some seconds, again and again, with loss between."""
    await system.create_pod("stays")
    await system.running("stays")
    kept = container_of(system.view.pods["stays"])["containerID"]
    rng, flaps, over = random.Random(5), 0, time.monotonic() + 300
    while time.monotonic() < over:
        bad_link.shape(up=LOSSY, down=LOSSY)
        await asyncio.sleep(rng.uniform(1, 6))
        bad_link.unplug()
        await asyncio.sleep(rng.uniform(0.5, 8))
        bad_link.plug()
        flaps += 1
        await system.create_pod(f"flap-{flaps}")
        if flaps > 3:
            await system.delete_pod(f"flap-{flaps - 3}")
    bad_link.shape(up=GOOD, down=GOOD)
    began = time.monotonic()
    last = [f"flap-{number}" for number in range(flaps - 2, flaps + 1)]
    await system.running("stays", *last, within=180)
    await system.view.until(
        "nothing but what is wanted",
        lambda: set(system.view.pods) == {"stays", *last},
        within=180,
    )
    print(f"{flaps} flaps; good again → in step {time.monotonic() - began:.0f} s")
    assert container_of(system.view.pods["stays"])["containerID"] == kept
    assert all(restarts_of(pod) == 0 for pod in system.view.pods.values())
    await system.node_is("True")
