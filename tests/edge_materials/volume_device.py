"""A device whose pods have volumes on a real disk."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgeagent.pods.model.errors import MountError
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.volumes import mounting
from edgeagent.pods.volumes.making import Volumes
from edgeagent.pods.volumes.mounts import mounts
from edgeagent.runtime.port import Mount
from shared.objects import Json
from tests.edge_materials.making import (
    NODE,
    Objects,
    SteppedClock,
    pod,
)

MOUNTS = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
ROOT_ONLY = pytest.mark.skipif(not mounting.may_mount(), reason="mounting needs root")


@dataclass
class Device:
    paths: PodPaths
    objects: Objects
    volumes: Volumes

    async def prepare(self, *volumes: Json, **spec: Any) -> dict[str, Path]:
        whole = pod(*spec.pop("containers", ()), volumes=list(volumes), **spec)
        made = await self.volumes.prepare(whole, self.objects, NODE)
        return {name: Path(volume.path) for name, volume in made.items()}

    async def refused(self, volume: Json, **spec: Any) -> str:
        with pytest.raises(MountError) as raised:
            await self.prepare(volume, **spec)
        assert (raised.value.reason, raised.value.event) == ("ContainerCreating", "FailedMount")
        return str(raised.value)


def text_of(path: str) -> str:
    return Path(path).read_text()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def a_device(tmp_path: Path) -> Iterator[Device]:
    paths = PodPaths(tmp_path / "data", tmp_path / "logs")
    yield Device(paths, Objects(), Volumes(paths, SteppedClock()))
    if mounting.may_mount():
        mounting.unmount_below(tmp_path)


def mounted(
    device: Device, one: Json, whole: Json, *, node: NodeFacts = NODE, **environment: str
) -> list[Mount]:
    return mounts(
        whole,
        one,
        volumes=device.volumes.located(whole),
        environment=environment,
        node=node,
        paths=device.paths,
    )
