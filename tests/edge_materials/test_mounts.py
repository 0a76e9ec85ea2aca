"""What the runtime puts into a container of the volumes that it mounts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeagent.pods.model.errors import ConfigError
from edgeagent.runtime.abilities import Handler
from edgeagent.runtime.port import Mount
from tests.edge_materials.making import (
    NODE,
    UID,
    config_map,
    container,
    pod,
)
from tests.edge_materials.volume_device import Device, a_device, mounted, text_of


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    yield from a_device(tmp_path)


VOLUMES = [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}}]


async def one_mount(device: Device, *, named: str = "v", **fields: Any) -> Mount:
    device.objects.put(config_map("c", key="1"))
    one = container(volumeMounts=[{"name": named, "mountPath": "/m", **fields}])
    whole = pod(one, volumes=VOLUMES)
    await device.volumes.prepare(whole, device.objects, NODE)
    (found,) = mounted(device, one, whole, POD="web-1", NOTHING="")
    return found


async def test_a_volume_is_mounted_where_the_container_wants_it(device: Device) -> None:
    found = await one_mount(device)
    assert found == Mount(str(device.paths.volume(UID, "v")), "/m")


async def test_mounts_can_be_read_only_and_propagated(device: Device) -> None:
    found = await one_mount(device, readOnly=True, mountPropagation="HostToContainer")
    assert (found.readonly, found.propagation) == (True, "HostToContainer")


async def test_containers_only_read_what_the_node_writes(device: Device) -> None:
    assert (await one_mount(device, named="c")).readonly


async def test_a_sub_path_of_a_config_map_is_one_file(device: Device) -> None:
    found = await one_mount(device, named="c", subPath="key")
    assert text_of(found.host_path) == "1"


async def test_a_sub_path_expression_is_expanded_from_the_environment(device: Device) -> None:
    await one_mount(device, subPathExpr="logs/$(POD)")
    assert (device.paths.volume(UID, "v") / "logs/web-1").is_dir()


async def test_a_sub_path_expression_needs_all_its_variables(device: Device) -> None:
    with pytest.raises(ConfigError, match=r"^missing value for EVER, NO$"):
        await one_mount(device, subPathExpr="$(NO)/$(POD)/$(EVER)/$(NO)")


async def test_an_empty_variable_does_not_expose_the_whole_volume(device: Device) -> None:
    with pytest.raises(ConfigError, match=r"^missing value for NOTHING$"):
        await one_mount(device, subPathExpr="$(NOTHING)")


async def test_a_sub_path_that_leaves_the_volume_is_refused_without_details(
    device: Device,
) -> None:
    await one_mount(device)
    (device.paths.volume(UID, "v") / "evil").symlink_to("/etc")
    with pytest.raises(ConfigError) as raised:
        await one_mount(device, subPath="evil/passwd")
    assert str(raised.value) == (
        'failed to prepare subPath for volumeMount "v" of container "main"'
    )
    with pytest.raises(ConfigError, match="must not contain"):
        await one_mount(device, subPathExpr="../$(POD)")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("evil/made", "create subPath directory"),
        ("nowhere", "create subPath directory"),
        ("evil", "prepare subPath"),
        ("file/below", "prepare subPath"),
    ],
)
async def test_what_cannot_be_made_of_a_sub_path_is_told_apart(
    device: Device, path: str, words: str
) -> None:
    await one_mount(device)
    volume = device.paths.volume(UID, "v")
    (volume / "evil").symlink_to("/etc")
    (volume / "nowhere").symlink_to("/absent/too")
    (volume / "file").touch()
    with pytest.raises(ConfigError) as raised:
        await one_mount(device, subPath=path)
    assert str(raised.value) == f'failed to {words} for volumeMount "v" of container "main"'


async def test_a_volume_that_is_not_declared_cannot_be_mounted(device: Device) -> None:
    words = 'cannot find volume "x" to mount into container "main"'
    with pytest.raises(ConfigError, match=words):
        await one_mount(device, named="x")


async def test_recursive_read_only_needs_the_runtime(device: Device) -> None:
    found = await one_mount(device, readOnly=True, recursiveReadOnly="IfPossible")
    assert not found.recursive_readonly
    asks = (
        'failed to resolve recursive read-only mode: volume "v" requested recursive read-only mode'
    )
    with pytest.raises(ConfigError, match=f"^{asks}, but it is not supported by the runtime$"):
        await one_mount(device, readOnly=True, recursiveReadOnly="Enabled")
    with pytest.raises(ConfigError, match=f"^{asks}, but it is not read-only$"):
        await one_mount(device, recursiveReadOnly="Enabled")
    both = {"readOnly": True, "mountPropagation": "HostToContainer"}
    with pytest.raises(ConfigError, match=f'^{asks}, but it is not compatible with propagation "H'):
        await one_mount(device, recursiveReadOnly="IfPossible", **both)


async def test_recursive_read_only_is_what_the_handler_of_the_pod_can(device: Device) -> None:
    node = replace(NODE, handlers=(Handler(), Handler("able", recursive_readonly=True)))
    for name, able in (("able", True), ("", False), ("other", False)):
        whole = pod(
            container(volumeMounts=[{"name": "v", "mountPath": "/m", "readOnly": True}]),
            volumes=VOLUMES[:1],
            runtimeClassName=name,
        )
        one = whole["spec"]["containers"][0]
        one["volumeMounts"][0]["recursiveReadOnly"] = "IfPossible"
        await device.volumes.prepare(whole, device.objects, node)
        (found,) = mounted(device, one, whole, node=node)
        assert found.recursive_readonly is able
