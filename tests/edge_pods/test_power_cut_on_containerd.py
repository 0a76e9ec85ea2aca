"""What a power cut leaves of files that nobody had flushed: they are there, empty or rubbish.

The runtime's, CNI's and the agent's own. Pods run again all the same, read what they were given to
read, and leave nothing behind when they are deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devcluster.containerd import Containerd
from edgeagent.runtime.cni_results import RESULTS
from shared.objects import ObjectKey
from tests.edge_pods.device import Device, a_device, a_script
from tests.parts.containerd import new_containerd
from tests.parts.ports import free_port

READS = "trap 'exit 7' TERM; grep -q spoken /words/said || exit 4; sleep 3600 & wait"
WORDS = {"name": "words", "configMap": {"name": "words"}}

Files = Callable[[Containerd, Device, list[str]], list[Path]]


@pytest.fixture(scope="module")
def mortal(image_archive: Path) -> Iterator[Containerd]:
    """A containerd of our own: it is killed here."""
    private = new_containerd(image_archive)
    yield private
    private.close()


def states_of_containers(mortal: Containerd, device: Device, ids: list[str]) -> list[Path]:
    return [*(mortal.root / "root/io.containerd.grpc.v1.cri/containers").glob("*/*")]


def files_of_sandboxes(mortal: Containerd, device: Device, ids: list[str]) -> list[Path]:
    return [*(mortal.root / "root/io.containerd.grpc.v1.cri/sandboxes").glob("*/*")]


def results_of_networks(mortal: Containerd, device: Device, ids: list[str]) -> list[Path]:
    return [one for one in RESULTS.iterdir() if any(f"-{id_}-" in one.name for id_ in ids)]


def addresses_that_are_taken(mortal: Containerd, device: Device, ids: list[str]) -> list[Path]:
    return [one for one in (mortal.root / "addresses").rglob("*") if one.is_file()]


def the_agents_own(mortal: Containerd, device: Device, ids: list[str]) -> list[Path]:
    every = device.paths.pods.rglob("*")
    return [one for one in every if one.is_file() and not one.is_symlink()]


def runs_again(device: Device, uid: str) -> bool:
    return device.runs(uid) and bool(device.container(uid)["restartCount"] == 1)


NOTHING, RUBBISH = b"", b"\xff\0" * 50


@pytest.mark.parametrize(
    ("files", "left"),
    [
        (states_of_containers, NOTHING),
        (files_of_sandboxes, NOTHING),
        (results_of_networks, NOTHING),
        (results_of_networks, RUBBISH),
        (addresses_that_are_taken, NOTHING),
        (the_agents_own, NOTHING),
        (the_agents_own, RUBBISH),
    ],
    ids=lambda one: one.__name__ if callable(one) else "rubbish" if one else "empty",
)
async def test_pods_run_again_and_can_be_deleted_when_files_are_empty_or_rubbish(
    mortal: Containerd, tmp_path: Path, files: Files, left: bytes
) -> None:
    async with a_device(mortal, tmp_path) as device:
        words = {"metadata": {"name": "words", "namespace": "default"}, "data": {"said": "spoken"}}
        device.desired.objects[ObjectKey("ConfigMap", "default", "words")] = words
        mounts = [{"name": "words", "mountPath": "/words"}]
        ports = [{"containerPort": 80, "hostPort": free_port()}]
        plain = device.apply(a_script(READS, volumeMounts=mounts), volumes=[WORDS])
        with_port = device.apply(a_script(READS, volumeMounts=mounts, ports=ports), volumes=[WORDS])
        both = (plain, with_port)
        await device.until(lambda: all(device.runs(uid) for uid in both))
        await device.kill_agent()
        before = [one.id for one in await device.sandboxes()]
        mortal.power_off()
        lost = files(mortal, device, before)
        assert lost
        for one in lost:
            one.write_bytes(left)
        mortal.start()

        device.reports.by_uid.clear()
        device.start_agent()
        await device.until(lambda: all(runs_again(device, uid) for uid in both), seconds=40)
        for uid in both:
            device.delete(uid, grace=1)
        await device.until(lambda: all(device.finished(uid) for uid in both))
        for uid in both:
            device.drop(uid)
        async with asyncio.timeout(30):
            while await device.sandboxes():
                await asyncio.sleep(0.1)
        assert not results_of_networks(mortal, device, before)
