"""AppArmor profiles as the kernel has them for containers on a real containerd.

Needs a kernel that enforces AppArmor: elsewhere skipped, and shown by ``make machine``.
"""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgeagent.node.device import read_device
from shared.errors import KubetideError
from shared.objects import Json
from tests.edge_materials.device import NODE, Device, a_device, a_pod, printed
from tests.parts.containerd import Containerd
from tests.parts.missing import need, refuse

MINE = "kubetide-test"
PROFILE = f"""
#include <tunables/global>
profile {MINE} flags=(attach_disconnected,mediate_deleted) {{
  #include <abstractions/base>
  file,
  network,
  signal,
  ptrace,
  deny /forbidden/** wl,
}}
"""
UNDER = "cat /proc/self/attr/current"
LOCALHOST: Json = {"appArmorProfile": {"type": "Localhost", "localhostProfile": MINE}}
RUNTIME_DEFAULT: Json = {"appArmorProfile": {"type": "RuntimeDefault"}}
UNCONFINED: Json = {"appArmorProfile": {"type": "Unconfined"}}


@pytest.fixture(scope="module")
def loaded_profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """In the kernel until the tests are over."""
    if not read_device(Path("/")).apparmor:
        refuse("AppArmor", "this kernel does not enforce it")
    need("AppArmor", "apparmor_parser", packages="apparmor")
    file = tmp_path_factory.mktemp("apparmor") / MINE
    file.write_text(PROFILE)
    subprocess.run(["apparmor_parser", "--replace", str(file)], check=True)
    yield MINE
    subprocess.run(["apparmor_parser", "--remove", str(file)], check=True)


@pytest.fixture
async def device(
    loaded_profile: str, containerd: Containerd, tmp_path: Path
) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        one.materials.node_changed(replace(NODE, apparmor=True))
        yield one


async def test_a_container_runs_under_the_profile_that_its_field_names(device: Device) -> None:
    for context, profile in (
        (LOCALHOST, f"{MINE} (enforce)"),
        (RUNTIME_DEFAULT, "cri-containerd.apparmor.d (enforce)"),
        (UNCONFINED, "unconfined"),
    ):
        assert device.materials.refusal(a_pod(UNDER, securityContext=context)) is None
        assert await device.output(UNDER, securityContext=context) == [profile]


async def test_the_profile_of_the_pod_holds_for_containers_without_one(device: Device) -> None:
    spec = {"securityContext": LOCALHOST}
    assert await device.output(UNDER, spec=spec) == [f"{MINE} (enforce)"]
    assert await device.output(UNDER, spec=spec, securityContext=UNCONFINED) == ["unconfined"]


async def test_the_old_annotation_names_a_profile_too(device: Device) -> None:
    whole = a_pod(UNDER)
    name = "container.apparmor.security.beta.kubernetes.io/main"
    whole["metadata"]["annotations"] = {name: f"localhost/{MINE}"}
    assert printed(await device.ended(whole)) == [f"{MINE} (enforce)"]


async def test_without_a_profile_a_container_has_the_runtimes_default(device: Device) -> None:
    assert await device.output(UNDER) == ["cri-containerd.apparmor.d (enforce)"]


async def test_a_privileged_container_without_a_profile_is_unconfined(device: Device) -> None:
    assert await device.output(UNDER, securityContext={"privileged": True}) == ["unconfined"]


async def test_what_the_profile_denies_fails(device: Device) -> None:
    script = "mkdir /forbidden; echo > /forbidden/file || echo refused; echo > /allowed && echo ok"
    assert await device.output(script, securityContext=LOCALHOST) == [
        "/bin/sh: can't create /forbidden/file: Permission denied",
        "refused",
        "ok",
    ]
    assert await device.output(script, securityContext=UNCONFINED) == ["ok"]


async def test_a_profile_that_is_not_loaded_starts_nothing(device: Device) -> None:
    absent = {"appArmorProfile": {"type": "Localhost", "localhostProfile": "not-there"}}
    with pytest.raises(KubetideError, match="not-there"):
        await device.start(a_pod(UNDER, securityContext=absent))
