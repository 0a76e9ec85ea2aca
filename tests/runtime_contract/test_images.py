"""Pulling, looking up and removing images, with a registry that is there, away or closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

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
