"""Images of pods by their pull policies, with a real containerd and a real registry."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from shared.messages import ReportedEvent
from shared.objects import Json, ObjectKey
from tests.edge_materials.making import secret
from tests.edge_pods.device import OBEYS, Device, a_device, a_script
from tests.parts.containerd import Containerd
from tests.parts.images import ImageSpec
from tests.parts.registry import Registry

NewRegistry = Callable[..., Registry]
PATH = "spec.containers{main}"


@pytest.fixture
async def device(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Device]:
    async with a_device(containerd, tmp_path) as one:
        yield one


@pytest.fixture
async def registry(device: Device, new_registry: NewRegistry) -> AsyncIterator[Registry]:
    """What was pulled from it is gone afterwards: others share this containerd."""
    made = new_registry()
    yield made
    for image in await device.runtime.list_images():
        if any(tag.startswith(made.host) for tag in (*image.tags, *image.digests)):
            await device.runtime.remove_image(image.id)


def of_image(name: str, policy: str = "") -> Json:
    return a_script(OBEYS, image=name, **({"imagePullPolicy": policy} if policy else {}))


def of_images(device: Device, uid: str) -> list[ReportedEvent]:
    """The sandbox is begun at the same time, and tells of the device's DNS."""
    events = device.reports.by_uid[uid].events
    return [one for one in events if one.reason != "MissingClusterDNS"]


def told(device: Device, uid: str) -> list[tuple[str, str, str]]:
    return [(one.type, one.reason, one.message) for one in of_images(device, uid)]


def waiting(device: Device, uid: str) -> Json:
    return dict(device.container(uid).get("state", {}).get("waiting") or {})


async def how_it_came(device: Device, name: str, policy: str = "") -> str:
    """``pulled`` or ``present``, by the Event of a pod that runs."""
    uid = device.apply(of_image(name, policy))
    await device.until(lambda: device.runs(uid))
    (words,) = [message for _, reason, message in told(device, uid) if reason == "Pulled"]
    present = f'Container image "{name}" already present on machine and can be accessed by the pod'
    if words == present:
        assert "Pulling" not in device.reasons(uid)
        return "present"
    assert words.startswith(f'Successfully pulled image "{name}" in ')
    assert words.endswith(" bytes.")
    assert ("Normal", "Pulling", f'Pulling image "{name}"') in told(device, uid)
    return "pulled"


@pytest.mark.parametrize(
    ("policy", "second"), [("Always", "pulled"), ("IfNotPresent", "present"), ("Never", "present")]
)
async def test_always_asks_the_registry_each_time_and_the_others_take_what_is_there(
    device: Device, registry: Registry, policy: str, second: str
) -> None:
    name = registry.push("app", "1", ImageSpec("app"))
    first = policy if policy != "Never" else "IfNotPresent"
    assert await how_it_came(device, name, first) == "pulled"
    assert await how_it_came(device, name, policy) == second


async def test_without_a_policy_latest_is_pulled_each_time_and_any_other_tag_or_digest_once(
    device: Device, registry: Registry
) -> None:
    tagged = registry.push("app", "1", ImageSpec("app"))
    assert [await how_it_came(device, tagged) for _ in range(2)] == ["pulled", "present"]
    image = await device.runtime.image_status(tagged)
    assert image is not None
    assert await how_it_came(device, image.digests[0]) == "present"
    latest = registry.push("app", "latest", ImageSpec("latest"))
    for name in (latest, latest.removesuffix(":latest")):
        assert [await how_it_came(device, name) for _ in range(2)] == ["pulled", "pulled"]


async def test_the_status_names_the_image_and_what_it_was_resolved_to(
    device: Device, registry: Registry
) -> None:
    name = registry.push("team/app", "1", ImageSpec("app"))
    uid = device.apply(of_image(name))
    await device.until(lambda: device.runs(uid))
    status = device.container(uid)
    assert status["image"] == name
    assert status["imageID"].startswith(f"{registry.host}/team/app@sha256:")


async def test_never_waits_until_somebody_brings_the_image(
    device: Device, registry: Registry
) -> None:
    name = registry.push("app", "1", ImageSpec("app"))
    uid = device.apply(of_image(name, "Never"))
    words = f'Container image "{name}" is not present with pull policy of Never'
    await device.until(
        lambda: waiting(device, uid) == {"reason": "ErrImageNeverPull", "message": words}
    )
    assert told(device, uid)[-2:] == [
        ("Warning", "ErrImageNeverPull", words),
        ("Warning", "Failed", "Error: ErrImageNeverPull"),
    ]
    assert {one.field_path for one in of_images(device, uid)[-2:]} == {PATH}
    await device.runtime.pull_image(name)
    await device.until(lambda: device.runs(uid))


async def test_a_failed_pull_backs_off_and_says_so_and_the_pod_runs_when_the_image_is_there(
    device: Device, registry: Registry
) -> None:
    name = f"{registry.host}/late:1"
    uid = device.apply(of_image(name))
    await device.until(lambda: waiting(device, uid).get("reason") == "ErrImagePull")
    error = waiting(device, uid)["message"]
    assert name in error
    assert "not found" in error
    await device.until(lambda: waiting(device, uid).get("reason") == "ImagePullBackOff")
    words = f'Back-off pulling image "{name}"'
    assert waiting(device, uid)["message"] == f"{words}: ErrImagePull: {error}"
    assert device.status(uid)["phase"] == "Pending"
    assert told(device, uid)[-5:] == [
        ("Normal", "Pulling", f'Pulling image "{name}"'),
        ("Warning", "Failed", f'Failed to pull image "{name}": {error}'),
        ("Warning", "Failed", "Error: ErrImagePull"),
        ("Normal", "BackOff", words),
        ("Warning", "Failed", "Error: ImagePullBackOff"),
    ]
    assert registry.push("late", "1", ImageSpec("late")) == name
    await device.until(lambda: device.runs(uid))
    assert device.container(uid)["restartCount"] == 0


async def test_what_is_no_image_name_is_told_and_never_tried(device: Device) -> None:
    uid = device.apply(of_image("Not A Name"))
    await device.until(lambda: waiting(device, uid).get("reason") == "InvalidImageName")
    words = waiting(device, uid)["message"]
    assert words.startswith('Failed to apply default image tag "Not A Name": ')
    assert told(device, uid)[-2:] == [
        ("Warning", "InspectFailed", words),
        ("Warning", "Failed", "Error: InvalidImageName"),
    ]
    assert "Pulling" not in device.reasons(uid)


async def test_a_closed_registry_opens_when_the_pull_secret_comes(
    device: Device, new_registry: NewRegistry
) -> None:
    registry = new_registry("me", "right")
    name = registry.push("team/app", "1", ImageSpec("app"))
    uid = device.apply(of_image(name), imagePullSecrets=[{"name": "pull"}])
    await device.until(lambda: waiting(device, uid).get("reason") == "ImagePullBackOff")
    missing = (
        "Unable to retrieve some image pull secrets (pull); attempting to pull the image may not"
        " succeed."
    )
    assert ("Warning", "FailedToRetrieveImagePullSecret", missing) in told(device, uid)
    entry = {"username": "me", "password": "right"}
    config = json.dumps({"auths": {f"http://{registry.host}/v2/": entry}})
    came = secret("pull", **{".dockerconfigjson": config})
    key = ObjectKey.of("Secret", came)
    device.desired.objects[key] = came
    device.pods.changed({key})
    await device.until(lambda: device.runs(uid))
    assert "right" not in str(told(device, uid))
    stranger = device.apply(of_image(name, "Always"))
    await device.until(lambda: waiting(device, stranger).get("reason") == "ErrImagePull")
    words = waiting(device, stranger)["message"]
    assert re.search("401 Unauthorized|pull access denied", words), "though the image is here"
    await device.runtime.remove_image(name)


async def test_a_login_of_the_runtime_serves_every_pod(
    device: Device, containerd: Containerd, new_registry: NewRegistry
) -> None:
    """As docs/deployment.md says it: in the ``hosts.toml`` of the registry."""
    registry = new_registry("me", "right")
    name = registry.push("team/app", "1", ImageSpec("app"))
    hosts = containerd.root / "certs.d" / registry.host / "hosts.toml"
    hosts.parent.mkdir(parents=True)
    server = f"http://{registry.host}"
    login = base64.b64encode(b"me:right").decode()
    hosts.write_text(
        f'server = "{server}"\n\n[host."{server}"]\n  capabilities = ["pull", "resolve"]\n'
        f'  [host."{server}".header]\n    authorization = "Basic {login}"\n'
    )
    uid = device.apply(of_image(name))
    await device.until(lambda: device.runs(uid))
    assert login not in str(told(device, uid))
    await device.runtime.remove_image(name)


async def test_pods_with_images_of_init_containers_and_several_containers_get_them_all(
    device: Device, registry: Registry
) -> None:
    names = [registry.push(f"app{number}", "1", ImageSpec(f"app{number}")) for number in range(3)]
    init = {**a_script("true", "init"), "image": names[0]}
    mains = [a_script(OBEYS, f"main{n}", image=name) for n, name in enumerate(names[1:])]
    uid = device.apply(*mains, initContainers=[init])
    await device.until(lambda: all(device.runs(uid, f"main{n}") for n in range(2)))
    pulled = [
        (one.field_path, one.reason)
        for one in device.reports.by_uid[uid].events
        if one.reason in ("Pulling", "Pulled")
    ]
    for path in ("spec.initContainers{init}", "spec.containers{main0}", "spec.containers{main1}"):
        assert [reason for found, reason in pulled if found == path] == ["Pulling", "Pulled"]
