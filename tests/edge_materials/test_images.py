"""Images by pull policy, on a device in memory and in stepped time."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from edgeagent.pods.images.credentials import logins
from edgeagent.pods.images.pulling import Images
from edgeagent.pods.images.references import parse
from edgeagent.pods.model.errors import ImageTrouble
from edgeagent.pods.model.podevents import PodEvent
from edgeagent.runtime.memory import MemoryRuntime
from edgeagent.runtime.memory_device import MemoryDevice, RemoteImage
from edgeagent.runtime.port import Image, ImageAuth, ImagePullError, RuntimeAway
from shared.errors import TemporaryError
from shared.objects import Json
from tests.edge_materials.making import SteppedClock, container, pod, secret

NAME = "registry.example/app:1"


@dataclass
class Puller:
    clock: SteppedClock = field(default_factory=SteppedClock)
    events: list[PodEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.device = MemoryDevice(self.clock)
        self.images = Images(MemoryRuntime(self.device), self.clock)

    async def ensure(
        self, policy: str = "IfNotPresent", *, image: str = NAME, uid: str = "1", **options: Any
    ) -> Image:
        one = container(image=image, imagePullPolicy=policy)
        of = pod(one, metadata={"uid": uid})
        return await self.images.ensure(of, one, record=self.events.append, **options)

    async def trouble(self, policy: str = "IfNotPresent", **options: Any) -> ImageTrouble:
        self.events.clear()
        with pytest.raises(ImageTrouble) as raised:
            await self.ensure(policy, **options)
        return raised.value

    def told(self) -> list[str]:
        return [f"{one.type} {one.reason}: {one.message}" for one in self.events]

    def pulls(self) -> int:
        return len(self.device.calls("pull_image"))


@pytest.fixture
def puller() -> Puller:
    return Puller()


async def test_if_not_present_pulls_once(puller: Puller) -> None:
    puller.device.registry[NAME] = RemoteImage(pull_seconds=61.5)
    image = await puller.ensure()
    assert image == puller.device.images[NAME]
    assert puller.told() == [
        f'Normal Pulling: Pulling image "{NAME}"',
        f'Normal Pulled: Successfully pulled image "{NAME}" in 1m1.5s (1m1.5s including waiting).'
        " Image size: 1000000 bytes.",
    ]
    puller.events.clear()
    assert await puller.ensure() == image
    assert puller.told() == [
        f'Normal Pulled: Container image "{NAME}" already present on machine and can be accessed'
        " by the pod"
    ]
    assert puller.pulls() == 1


async def test_events_point_to_the_container(puller: Puller) -> None:
    puller.device.add_image(NAME)
    await puller.ensure()
    assert puller.events[0].field_path == "spec.containers{main}"


async def test_always_asks_the_registry_each_time(puller: Puller) -> None:
    puller.device.registry[NAME] = RemoteImage()
    for _ in range(2):
        await puller.ensure("Always")
    assert puller.pulls() == 2


async def test_never_takes_what_is_there_or_nothing(puller: Puller) -> None:
    trouble = await puller.trouble("Never")
    words = f'Container image "{NAME}" is not present with pull policy of Never'
    assert (trouble.reason, str(trouble)) == ("ErrImageNeverPull", words)
    assert puller.told() == [
        f"Warning ErrImageNeverPull: {words}",
        "Warning Failed: Error: ErrImageNeverPull",
    ]
    puller.device.add_image(NAME)
    await puller.ensure("Never")
    assert puller.pulls() == 0


async def test_without_a_policy_latest_is_always_pulled(puller: Puller) -> None:
    puller.device.registry["app:latest"] = RemoteImage()
    for _ in range(2):
        await puller.ensure("", image="app")
    assert puller.pulls() == 2


async def test_a_failed_pull_is_told_and_then_backed_off(puller: Puller) -> None:
    trouble = await puller.trouble()
    assert (trouble.reason, str(trouble)) == ("ErrImagePull", f"{NAME}: not found")
    assert puller.told() == [
        f'Normal Pulling: Pulling image "{NAME}"',
        f'Warning Failed: Failed to pull image "{NAME}": {NAME}: not found',
        "Warning Failed: Error: ErrImagePull",
    ]
    puller.clock.pass_by(trouble.delay or 0)
    trouble = await puller.trouble()
    assert trouble.reason == "ImagePullBackOff"
    assert str(trouble) == (f'Back-off pulling image "{NAME}": ErrImagePull: {NAME}: not found')
    assert puller.told() == [
        f'Normal BackOff: Back-off pulling image "{NAME}"',
        "Warning Failed: Error: ImagePullBackOff",
    ]
    assert puller.pulls() == 1


@pytest.mark.parametrize(
    ("said", "reason", "why"),
    [
        ("SignatureValidationFailed: none", "SignatureValidationFailed", "signature validation"),
        ("RegistryUnavailable: ping", "RegistryUnavailable", "registry is unavailable"),
    ],
)
async def test_a_reason_of_the_runtimes_own_is_kept(
    puller: Puller, said: str, reason: str, why: str
) -> None:
    puller.device.failures["pull_image"].append(ImagePullError(said))
    trouble = await puller.trouble()
    words = str(trouble)
    assert words.startswith(f"image pull failed for {NAME} because the {why}")
    assert words.endswith(said.removeprefix(reason))
    assert trouble.reason == reason
    assert puller.told()[1:] == [
        f'Warning Failed: Failed to pull image "{NAME}": {said}',
        f"Warning Failed: Error: {reason}",
    ]
    puller.clock.pass_by(trouble.delay or 0)
    waiting = await puller.trouble()
    assert str(waiting) == f'Back-off pulling image "{NAME}": {reason}: {words}'


async def test_the_back_off_doubles_from_10_seconds_to_5_minutes(puller: Puller) -> None:
    waits = []
    for _ in range(7):
        assert (await puller.trouble()).reason == "ErrImagePull"
        trouble = await puller.trouble()
        waits.append(trouble.delay)
        puller.clock.pass_by(trouble.delay or 0)
    assert waits == [10, 20, 40, 80, 160, 300, 300]


async def test_the_back_off_begins_again_after_a_success_and_after_a_long_time(
    puller: Puller,
) -> None:
    for _ in range(3):
        await puller.trouble()
        puller.clock.pass_by(100)
    puller.clock.pass_by(700)
    await puller.trouble()
    assert (await puller.trouble()).delay == 10
    puller.clock.pass_by(10)
    puller.device.registry[NAME] = RemoteImage()
    await puller.ensure()
    puller.device.images.clear()
    puller.device.registry.clear()
    await puller.trouble()
    assert (await puller.trouble()).delay == 10


async def test_pods_back_off_by_themselves(puller: Puller) -> None:
    await puller.trouble(uid="1")
    assert (await puller.trouble(uid="1")).reason == "ImagePullBackOff"
    assert (await puller.trouble(uid="2")).reason == "ErrImagePull"
    puller.images.forget("1")
    assert (await puller.trouble(uid="1")).reason == "ErrImagePull"


async def test_a_device_without_its_registry_uses_the_image_it_has(puller: Puller) -> None:
    present = puller.device.add_image(NAME)
    puller.device.registry_away = True
    assert await puller.ensure("Always") == present
    assert puller.told()[1].startswith(
        f'Warning RegistryUnreachable: Image "{NAME}" could not be looked up in its registry;'
        " using the image that is on this device:"
    )


async def test_a_registry_that_is_away_is_not_waited_for_again_and_again(puller: Puller) -> None:
    puller.device.add_image(NAME)
    puller.device.registry_away = True
    for _ in range(5):
        await puller.ensure("Always")
    assert puller.pulls() == 1
    puller.clock.pass_by(31)
    await puller.ensure("Always")
    assert puller.pulls() == 2


async def test_without_registry_and_image_the_pull_fails(puller: Puller) -> None:
    puller.device.registry_away = True
    trouble = await puller.trouble("Always")
    assert trouble.reason == "ErrImagePull"
    assert "no route" in str(trouble)


async def test_a_registry_that_refuses_is_believed_although_the_image_is_here(
    puller: Puller,
) -> None:
    puller.device.add_image(NAME)
    assert (await puller.trouble("Always")).reason == "ErrImagePull"


@pytest.mark.parametrize("name", ["", "Upper/Case:1", "a b", "a@sha256:short", "a:" + "x" * 200])
async def test_what_is_no_image_name_is_told_so(puller: Puller, name: str) -> None:
    trouble = await puller.trouble(image=name)
    assert trouble.reason == "InvalidImageName"
    assert str(trouble).startswith(f'Failed to apply default image tag "{name[:300]}"')
    assert puller.told()[0].startswith("Warning InspectFailed: Failed to apply default image tag")
    assert puller.device.calls() == []


async def test_a_runtime_that_is_away_is_no_verdict_on_the_image(puller: Puller) -> None:
    puller.device.go_away()
    with pytest.raises(RuntimeAway):
        await puller.ensure()
    assert puller.events == []


async def test_a_look_up_that_fails_is_told(puller: Puller) -> None:
    puller.device.failures["image_status"].append(TemporaryError("disk on fire"))
    trouble = await puller.trouble()
    assert (trouble.reason, str(trouble)) == (
        "ImageInspectError",
        f'Failed to inspect image "{NAME}": disk on fire',
    )


async def as_far_as_they_come() -> None:
    """Whatever the machine does meanwhile: the tasks wait for nothing but each other here."""
    for _ in range(100):
        await asyncio.sleep(0)


async def slow(puller: Puller) -> asyncio.Event:
    """Pulls take until the event is set."""
    gate = asyncio.Event()

    class Gate(SteppedClock):
        async def sleep(self, seconds: float) -> None:
            await gate.wait()

    puller.device.clock = Gate()
    return gate


async def test_pods_with_one_image_share_one_pull(puller: Puller) -> None:
    gate = await slow(puller)
    puller.device.registry[NAME] = RemoteImage(pull_seconds=1)
    waiting = [asyncio.create_task(puller.ensure(uid=str(n))) for n in range(5)]
    await as_far_as_they_come()
    gate.set()
    assert len(set(await asyncio.gather(*waiting))) == 1
    assert puller.pulls() == 1


async def test_no_more_than_four_images_are_pulled_at_once(puller: Puller) -> None:
    gate = await slow(puller)
    names = [f"registry.example/app:{n}" for n in range(7)]
    puller.device.registry.update({name: RemoteImage(pull_seconds=1) for name in names})
    waiting = [asyncio.create_task(puller.ensure(image=name)) for name in names]
    await as_far_as_they_come()
    assert puller.pulls() == 4
    gate.set()
    await asyncio.gather(*waiting)
    assert puller.pulls() == 7


async def test_those_that_wait_for_a_turn_do_not_wait_for_a_registry_that_is_away(
    puller: Puller,
) -> None:
    """Nobody knew when they began to; who lacks the image tries all the same."""
    gate = await slow(puller)
    puller.device.registry_away, puller.device.latency["pull_image"] = True, 30
    names = [f"registry.example/app:{n}" for n in range(20)]
    present = [puller.device.add_image(name) for name in names]
    waiting = [asyncio.create_task(puller.ensure("Always", image=name)) for name in names]
    await as_far_as_they_come()
    del puller.device.images[names[-1]]
    lacking = asyncio.create_task(puller.trouble("Always", image=names[-1], uid="2"))
    await as_far_as_they_come()
    assert puller.pulls() == 4
    gate.set()
    assert await asyncio.gather(*waiting) == present
    assert (await lacking).reason == "ErrImagePull"
    assert puller.pulls() == 5


async def test_a_pod_that_gives_up_leaves_the_pull_to_the_others(puller: Puller) -> None:
    gate = await slow(puller)
    puller.device.registry[NAME] = RemoteImage(pull_seconds=1)
    first, second = (asyncio.create_task(puller.ensure(uid=uid)) for uid in "12")
    await as_far_as_they_come()
    first.cancel()
    await as_far_as_they_come()
    gate.set()
    assert await second == puller.device.images[NAME]
    assert puller.pulls() == 1


async def test_closing_ends_the_pulls(puller: Puller) -> None:
    await slow(puller)
    puller.device.registry[NAME] = RemoteImage(pull_seconds=1)
    waiting = asyncio.create_task(puller.ensure())
    await as_far_as_they_come()
    await puller.images.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def docker_config(server: str, user: str, password: str) -> Json:
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    return secret("pull", **{".dockerconfigjson": json.dumps({"auths": {server: {"auth": login}}})})


async def test_a_pull_secret_opens_its_registry(puller: Puller) -> None:
    login = ImageAuth(username="me", password="right")
    puller.device.registry[NAME] = RemoteImage(needs=login)
    await puller.trouble()
    puller.clock.pass_by(10)
    right = docker_config("registry.example", "me", "right")
    await puller.ensure(secrets=[right])


async def test_every_login_that_fits_is_tried(puller: Puller) -> None:
    login = ImageAuth(username="me", password="right")
    puller.device.registry[NAME] = RemoteImage(needs=login)
    wrong = docker_config("https://registry.example/app", "me", "wrong")
    right = docker_config("registry.example", "me", "right")
    await puller.ensure(secrets=[wrong, right])
    assert puller.pulls() == 2


async def test_a_password_is_never_told(puller: Puller) -> None:
    puller.device.failures["pull_image"].append(ImagePullError("401 Unauthorized"))
    wrong = docker_config("registry.example", "me", "hunter2")
    trouble = await puller.trouble(secrets=[wrong])
    assert "hunter2" not in str(trouble) + repr(puller.told())


async def test_a_pull_secret_that_is_missing_is_told_and_the_pull_is_tried(puller: Puller) -> None:
    """Of the pod, and also of one whose image is here already."""
    puller.device.registry[NAME] = RemoteImage()
    for reason in ("Pulling", "Pulled"):
        puller.events.clear()
        await puller.ensure(missing_secrets=["a", "b"])
        assert puller.told()[0] == (
            "Warning FailedToRetrieveImagePullSecret: Unable to retrieve some image pull secrets"
            " (a, b); attempting to pull the image may not succeed."
        )
        assert [one.field_path for one in puller.events[:2]] == ["", "spec.containers{main}"]
        assert puller.events[1].reason == reason


async def test_pods_that_start_together_share_a_look_at_their_image(puller: Puller) -> None:
    image = puller.device.add_image(NAME)
    assert await asyncio.gather(*(puller.ensure(uid=str(i)) for i in range(20))) == [image] * 20
    assert puller.device.calls("image_status") == [f"image_status {NAME}"]
    await puller.ensure()
    assert len(puller.device.calls("image_status")) == 2


def test_a_password_that_is_no_text_is_none() -> None:
    """Half a character, as a script leaves it that cuts one short: no message could carry it."""
    entry = '{"username": "me", "password": "hunter2\\ud83d"}'
    cut = secret("pull", **{".dockerconfigjson": f'{{"auths": {{"registry.example": {entry}}}}}'})
    assert logins([cut], parse(NAME)) == [ImageAuth(username="me")]
