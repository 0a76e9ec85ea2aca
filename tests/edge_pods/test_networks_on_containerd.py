"""Devices whose container network is not the one that the other tests share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from devcluster.containerd import Containerd
from tests.edge_pods.device import OBEYS, a_device, a_script
from tests.parts.containerd import new_containerd


@pytest.fixture
def own(image_archive: Path) -> Iterator[Containerd]:
    private = new_containerd(image_archive)
    yield private
    private.close()


def network_of(containerd: Containerd) -> Path:
    (found,) = (containerd.root / "net.d").iterdir()
    return found


async def test_without_a_network_only_pods_on_the_devices_own_start(
    own: Containerd, tmp_path: Path
) -> None:
    network = network_of(own)
    config = network.read_text()
    network.unlink()
    own.restart()
    async with a_device(own, tmp_path) as device:
        waits = device.apply(a_script(OBEYS))
        brings = device.apply(a_script(OBEYS), hostNetwork=True)
        await device.until(lambda: device.runs(brings))
        await device.until(lambda: "NetworkNotReady" in device.reasons(waits))
        assert device.status(waits)["phase"] == "Pending"
        assert "podIP" not in device.status(waits)
        network.write_text(config)
        await device.until(lambda: device.runs(waits))


async def test_a_pod_has_an_address_of_each_family_that_its_network_has(
    own: Containerd, tmp_path: Path
) -> None:
    network = network_of(own)
    config = json.loads(network.read_text())
    config["plugins"][0]["ipam"]["ranges"].append([{"subnet": "fd00:6b74::/112"}])
    network.write_text(json.dumps(config))
    own.restart()
    async with a_device(own, tmp_path) as device:
        env = [{"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}}]
        uid = device.apply(a_script(f"echo $IPS; {OBEYS}", env=env))
        await device.until(lambda: device.runs(uid))
        said = [one["ip"] for one in device.status(uid)["podIPs"]]
        assert [ip_address(one).version for one in said] == [4, 6]
        assert device.status(uid)["podIP"] == said[0]
        await device.until(lambda: device.log(uid) == ",".join(said))
