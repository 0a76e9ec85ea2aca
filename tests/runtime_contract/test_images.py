"""Pulling, looking up and removing images, with a registry that is there, away or closed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from devcluster.containerd import Containerd
from edgeagent.runtime.cri import CriRuntime
from edgeagent.runtime.flushing import flush_filesystem
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice, RemoteImage
from edgeagent.runtime.port import (
    ImageAuth,
    ImagePullError,
    InvalidImageName,
    RegistryUnreachable,
    Runtime,
)
from shared.clock import SystemClock
from tests.parts import images
from tests.parts.images import ImageSpec
from tests.parts.registry import Registry
from tests.runtime_contract.worlds import Program, World, script

NewRegistry = Callable[..., Registry]


async def error_of(runtime: Runtime, image: str, auth: ImageAuth | None = None) -> type:
    with pytest.raises((ImagePullError, InvalidImageName)) as raised:
        await runtime.pull_image(image, auth)
    return raised.type


async def test_a_present_image_is_found_and_an_absent_one_is_none(world: World) -> None:
    found = await world.runtime.image_status(images.BUSYBOX)
    assert found is not None and images.BUSYBOX in found.tags
    if world.kind != "process":  # to it every name is present
        assert await world.runtime.image_status("kubetide.test/absent:1") is None


async def test_a_name_that_is_none_is_refused_for_good(world: World) -> None:
    assert await error_of(world.runtime, "Not A Name") is InvalidImageName


async def test_pull_from_a_registry_then_remove(
    isolating_world: World, new_registry: NewRegistry
) -> None:
    runtime = isolating_world.runtime
    name = new_registry().push("team/app", "1", ImageSpec("app", user="1234"))
    reference = await runtime.pull_image(name)
    pulled = await runtime.image_status(name)
    assert pulled is not None and pulled.id == reference
    assert (pulled.user, pulled.tags) == ("1234", (name,))
    assert any("@sha256:" in digest for digest in pulled.digests)
    assert pulled.id in {image.id for image in await runtime.list_images()}
    pod = await isolating_world.pod()
    assert await pod.output(_says_hello(), image=reference) == "hello"
    await runtime.remove_sandbox(pod.id)
    for _ in range(2):
        await runtime.remove_image(reference)
    assert await runtime.image_status(name) is None


async def test_a_pulled_image_is_flushed_to_the_disk_before_anything_is_made_of_it(
    containerd: Containerd, new_registry: NewRegistry
) -> None:
    flushed: list[str] = []
    runtime = CriRuntime(containerd.address, flush=flushed.append)
    try:
        await runtime.pull_image(new_registry().push("flushed", "1", ImageSpec("flushed")))
    finally:
        await runtime.close()
    (folder,) = flushed
    assert Path(folder).is_dir() and Path(folder).is_relative_to(containerd.root)


async def test_an_image_that_cannot_be_flushed_is_there_all_the_same(
    containerd: Containerd, new_registry: NewRegistry
) -> None:
    def fail(folder: str) -> None:
        raise OSError(5, "Input/output error", folder)

    runtime = CriRuntime(containerd.address, flush=fail)
    try:
        name = new_registry().push("unflushed", "1", ImageSpec("unflushed"))
        assert await runtime.pull_image(name)
        assert await runtime.image_status(name) is not None
    finally:
        await runtime.close()


def test_a_file_system_is_flushed_by_any_folder_of_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("dirty")
    flush_filesystem(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        flush_filesystem(str(tmp_path / "absent"))


async def test_what_the_registry_does_not_have(
    isolating_world: World, new_registry: NewRegistry
) -> None:
    registry = new_registry()
    assert await error_of(isolating_world.runtime, f"{registry.host}/no:1") is ImagePullError


async def test_a_registry_that_is_away(isolating_world: World, new_registry: NewRegistry) -> None:
    registry = new_registry()
    registry.stop()
    for absent in (f"{registry.host}/no:1", "registry.invalid/no:1"):
        assert await error_of(isolating_world.runtime, absent) is RegistryUnreachable


async def test_a_registry_that_wants_a_login(
    isolating_world: World, new_registry: NewRegistry
) -> None:
    runtime = isolating_world.runtime
    registry = new_registry("me", "secret")
    name = registry.push("closed", "1", ImageSpec("closed"))
    right = ImageAuth(username="me", password="secret")
    wrong = ImageAuth(username="me", password="other")
    assert await error_of(runtime, name) is ImagePullError
    assert await error_of(runtime, name, wrong) is ImagePullError
    await runtime.pull_image(name, right)
    await runtime.remove_image(name)


async def test_memory_plays_a_registry() -> None:
    device = MemoryDevice(SystemClock())
    runtime = MemoryRuntime(device)
    login = ImageAuth(username="me")
    device.registry["app:1"] = RemoteImage(user="1234")
    device.registry["closed:1"] = RemoteImage(needs=login)
    assert await error_of(runtime, "absent:1") is ImagePullError
    assert await error_of(runtime, "closed:1") is ImagePullError
    await runtime.pull_image("closed:1", login)
    device.registry_away = True
    assert await error_of(runtime, "app:1") is RegistryUnreachable
    device.registry_away = False
    pulled = await runtime.pull_image("app:1")
    status = await runtime.image_status("app:1")
    assert status is not None and (status.id, status.user) == (pulled, "1234")
    await runtime.remove_image(pulled)
    assert await runtime.image_status("app:1") is None


async def test_the_image_file_system_has_a_size(world: World) -> None:
    usage = await world.runtime.image_filesystem()
    assert usage is not None and usage.mountpoint.startswith("/")


def _says_hello() -> Program:
    return script("echo hello")
