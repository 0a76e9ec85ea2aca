"""The power goes while pods change; the disk then holds what was flushed, and some of the rest.

The whole disk: its file system, containerd's store, the agent's database. One device is recorded
while pods come and go on it; then it is booted once for each cut, which is at any write of that
record. What the API had as Ready when that write was made runs again without the cloud, and with
the cloud everything is as the API says. ``POWER_CUTS`` (5) says how often, ``POWER_CUT_SEED`` with
which seed it begins, ``POWER_CUT_SECONDS`` how long the record is.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloudhub.kube.port import CONFIG_MAPS
from tests.machine.device import (
    Cloud,
    eventually_running,
    running_of,
    set_up,
    use_registry,
)
from tests.machine.post_mortem import post_mortem
from tests.parts.guest import HOST, Guest
from tests.parts.images import BUSYBOX, ImageSpec
from tests.parts.mosquitto import Mosquitto
from tests.parts.power_cut import after_power_cut, choose_end, copy_disk, logging_drive
from tests.parts.registry import Registry
from tests.parts.view import is_ready

pytestmark = pytest.mark.machine

CUTS = int(os.environ.get("POWER_CUTS", "5"))
FIRST_SEED = int(os.environ.get("POWER_CUT_SEED", "1"))
SECONDS = float(os.environ.get("POWER_CUT_SECONDS", "150"))

STEADY = ("steady-1", "steady-2")
READS = "trap 'exit 0' TERM; grep -q spoken /words/said || exit 4; sleep 3600 & wait"
WORDS = {"name": "words", "configMap": {"name": "words"}}


@dataclass(frozen=True)
class Moment:
    """What the API said when the log of writes was so long."""

    log: int
    ready: frozenset[str]


@dataclass
class Record:
    before: Path
    log: Path
    moments: list[Moment] = field(default_factory=list)

    def promised_at(self, end: int) -> frozenset[str]:
        """Ready before the cut, and not yet deleted the first time one looked after it."""
        earlier = [one for one in self.moments if one.log <= end]
        later = [one for one in self.moments if one.log > end]
        return earlier[-1].ready & later[0].ready if later else earlier[-1].ready


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    """Without TLS and password."""
    one = Registry()
    one.start()
    yield one
    one.close()


@pytest.fixture(scope="module")
def device(broker: Mosquitto, registry: Registry, image_archive: Path) -> Iterator[Guest]:
    """Set up and switched off."""
    one = Guest()
    try:
        one.start()
        use_registry(one, registry.port)
        set_up(one, broker, image_archive)
        one.run("systemctl", "poweroff")
        one.wait_for_off()
        yield one
    finally:
        one.close()


async def change_pods(cloud: Cloud, registry: Registry, rng: random.Random) -> None:
    """One every some seconds, added or deleted; each has an image of its own to pull."""
    number = 0
    while True:
        names = [name for name in wanted(cloud) if name.startswith("changes-")]
        if len(names) > 3 or (len(names) > 1 and rng.random() < 0.4):
            await cloud.delete_pod(rng.choice(names))
        else:
            number += 1
            name = f"changes-{number}"
            spec = ImageSpec(name, extra_files=(("name", name),))
            registry.push(name, "1", spec)
            await create_pod(cloud, name, image=f"{HOST}:{registry.port}/{name}:1")
        await asyncio.sleep(rng.uniform(4, 12))


def wanted(cloud: Cloud) -> list[str]:
    pods = cloud.view.pods.items()
    return [name for name, pod in pods if "deletionTimestamp" not in pod["metadata"]]


async def create_pod(cloud: Cloud, name: str, *, image: str = BUSYBOX) -> None:
    """It ends at once when what it was given to read is not what the ConfigMap says."""
    mounts = [{"name": "words", "mountPath": "/words"}]
    command = ["sh", "-c", READS]
    await cloud.create_pod(name, mounts=mounts, command=command, volumes=[WORDS], image=image)


async def follow(cloud: Cloud, record: Record) -> None:
    while True:
        ready = frozenset(name for name in wanted(cloud) if is_ready(cloud.view.pods[name]))
        record.moments.append(Moment(record.log.stat().st_size, ready))
        await asyncio.sleep(0.5)


async def record_changes(
    device: Guest, cloud: Cloud, registry: Registry, rng: random.Random
) -> Record:
    record = Record(device.folder / "before.raw", device.folder / "writes.log")
    await asyncio.to_thread(copy_disk, device.disk, record.before)
    drive = logging_drive(device.disk, record.log)
    await asyncio.to_thread(device.start, drive=drive)
    words = {"metadata": {"name": "words", "namespace": "default"}, "data": {"said": "spoken"}}
    await cloud.kube.create(CONFIG_MAPS, "default", words)
    await cloud.node_is("True", within=400)
    for name in STEADY:
        await create_pod(cloud, name)
    await cloud.ready(*STEADY, within=400)
    async with asyncio.TaskGroup() as tasks:
        both = [
            tasks.create_task(follow(cloud, record)),
            tasks.create_task(change_pods(cloud, registry, rng)),
        ]
        await asyncio.sleep(SECONDS)
        device.cut_power()
        for one in both:
            one.cancel()
    return record


async def comes_back(
    device: Guest, cloud: Cloud, broker: Mosquitto, registry: Registry, *, promised: list[str]
) -> None:
    """First those that were promised, without cloud and registry; then all that the API has."""
    broker.stop()
    registry.stop()
    await asyncio.to_thread(device.start)
    for name in promised:
        await asyncio.to_thread(eventually_running, device, name, within=400)
    registry.start()
    broker.start()
    await cloud.node_is("True", within=400)
    for name in wanted(cloud):
        await asyncio.to_thread(eventually_running, device, name, within=400)
    await cloud.view.until(
        "the API has what is wanted, and calls it Ready",
        lambda: all(is_ready(pod) for pod in cloud.view.pods.values()),
        within=400,
    )
    assert await asyncio.to_thread(running_of, device) == len(cloud.view.pods)
    words = await asyncio.to_thread(device.sh, "journalctl -b -u edgeagent --no-pager")
    assert "set aside" not in words, words[-5000:]
    assert "internal error" not in words, words[-5000:]
    print(f"results of CNI that were damaged: {words.count('damaged CNI result removed')}")


async def test_everything_comes_back(
    device: Guest, cloud: Cloud, broker: Mosquitto, registry: Registry
) -> None:
    record = await record_changes(device, cloud, registry, random.Random(FIRST_SEED))
    for seed in range(FIRST_SEED, FIRST_SEED + CUTS):
        rng = random.Random(seed)
        end = choose_end(record.log, rng, after=record.moments[0].log)
        promised = sorted(record.promised_at(end))
        made = (record.before, record.log, device.disk, rng)
        loss = await asyncio.to_thread(after_power_cut, *made, end=end)
        print(f"seed {seed}: {loss.lost} of {loss.pages} pages lost; promised: {promised}")
        try:
            await comes_back(device, cloud, broker, registry, promised=promised)
        except AssertionError:
            print(f"seed {seed}:\n{await asyncio.to_thread(post_mortem, device)}")
            raise
        device.cut_power()
