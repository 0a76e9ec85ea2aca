"""Having the image that a container needs, by its pull policy.

Owns pulling: what is being pulled, which pulls failed and when they are tried again, and which
registries do not answer. One pull per image and login at a time, however many pods want it. A
device must run without its registry: an image that is here is used when its registry cannot be
reached, under every policy, and an Event says so; while a registry is known to be away, nobody
waits for it again, whose turn to pull comes meanwhile neither. Pods that start together share a
look at their image.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from edgeagent.pods.images import credentials
from edgeagent.pods.images.references import Reference, parse, pull_policy, tagged
from edgeagent.pods.model import specs
from edgeagent.pods.model.durations import go_duration
from edgeagent.pods.model.errors import ImageTrouble
from edgeagent.pods.model.podevents import Record, normal, warning
from edgeagent.runtime.port import (
    Image,
    ImageAuth,
    ImagePullError,
    InvalidImageName,
    RegistryUnreachable,
    Runtime,
    RuntimeAway,
)
from shared.clock import Clock
from shared.errors import KubetideError
from shared.joining import Joint
from shared.objects import Json
from shared.tasks import stop

log = structlog.get_logger()

FIRST_BACKOFF, MOST_BACKOFF = 10.0, 300.0
_FORGOTTEN_AFTER = 2 * MOST_BACKOFF
_SHOWN_FOR = 2.0
"""Seconds that the status says ErrImagePull before it says ImagePullBackOff."""
_AWAY_FOR = 30.0
"""Seconds for which a registry that did not answer is not asked again for an image we have."""
_AWAY = "its registry does not answer"
_PULLS_AT_ONCE = 4
_VERDICTS = {
    "RegistryUnavailable": "the registry is unavailable",
    "SignatureValidationFailed": "the signature validation failed",
}


@dataclass(slots=True)
class _Failure:
    """The last failed pull of one image for one pod. Moments are monotonic seconds."""

    at: float
    wait: float
    reason: str
    words: str

    @property
    def until(self) -> float:
        return self.at + self.wait


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a pull ended; an error is carried, because several may wait for it."""

    error: KubetideError | None
    seconds: float


_Pull = tuple[str, ImageAuth | None]
"""Image and login."""


@dataclass(frozen=True, slots=True)
class _Request:
    """One container's wish for its image."""

    uid: str
    written: str
    reference: Reference
    policy: str
    path: str
    """Of the container that waits for it."""
    record: Record
    of_volume: bool = False
    """What happens to the image itself is told of as the pod's."""
    auths: Sequence[ImageAuth | None] = (None,)

    @property
    def name(self) -> str:
        return tagged(self.written)

    def tell(self, reason: str, message: str) -> None:
        self.record(normal(reason, message, field_path="" if self.of_volume else self.path))

    def warn(self, reason: str, message: str) -> None:
        self.record(warning(reason, message, field_path="" if self.of_volume else self.path))


class Images:
    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._turn = asyncio.Semaphore(_PULLS_AT_ONCE)
        self._looks: dict[str, Joint[Image | None]] = {}
        self._pulls: dict[_Pull, asyncio.Task[_Outcome]] = {}
        self._lacking: set[_Pull] = set()
        """Pulls that somebody waits for who has no such image."""
        self._failures: dict[tuple[str, str], _Failure] = {}
        self._away: dict[str, float] = {}

    async def ensure(
        self,
        pod: Json,
        container: Json,
        *,
        secrets: Iterable[Json] = (),
        missing_secrets: Sequence[str] = (),
        record: Record,
        of_volume: bool = False,
    ) -> Image:
        """The image, present on the device. Raises ImageTrouble, or RuntimeAway."""
        if missing_secrets:
            # Of the pod, and told also where nothing is pulled, as on a kubelet.
            record(warning("FailedToRetrieveImagePullSecret", _missing(missing_secrets)))
        request = _request(pod, container, secrets, record=record, of_volume=of_volume)
        present = await self._look(request)
        if present is not None and request.policy != "Always":
            request.tell("Pulled", _already_present(request))
            return present
        if request.policy == "Never":
            words = f'Container image "{request.written}" is not present with pull policy of Never'
            request.warn("ErrImageNeverPull", words)
            raise _trouble(request, "ErrImageNeverPull", words)
        if present is not None and self._is_away(request):
            return self._make_do(request, present, why=_AWAY)
        self._respect_backoff(request)
        return await self._pulled(request, present)

    def forget(self, uid: str) -> None:
        """The pod is gone, and its failures with it."""
        for key in [key for key in self._failures if key[0] == uid]:
            del self._failures[key]

    async def close(self) -> None:
        await stop(*self._pulls.values())
        for look in list(self._looks.values()):
            await look.close()

    async def _look(self, request: _Request) -> Image | None:
        try:
            return await self._shared_look(request.name)
        except RuntimeAway:
            raise
        except KubetideError as error:
            words = f'Failed to inspect image "{request.written}": {error}'
            request.warn("InspectFailed", words)
            reason = "InvalidImageName" if isinstance(error, InvalidImageName) else ""
            raise _trouble(request, reason or "ImageInspectError", words) from error

    async def _shared_look(self, name: str) -> Image | None:
        if name not in self._looks:
            put = partial(self._runtime.image_status, name)
            self._looks[name] = Joint(put, name=f"look at {name}")
        try:
            return await self._looks[name].ask()
        finally:
            if name in self._looks and self._looks[name].is_idle:
                del self._looks[name]

    async def _pulled(self, request: _Request, present: Image | None) -> Image:
        request.tell("Pulling", f'Pulling image "{request.written}"')
        began = self._clock.monotonic()
        outcome = await self._pull_with_each_login(request, present)
        if isinstance(outcome.error, RuntimeAway):
            raise outcome.error
        if isinstance(outcome.error, RegistryUnreachable) and present is not None:
            return self._make_do(request, present, why=str(outcome.error))
        if outcome.error is not None:
            raise self._failed(request, outcome.error) from outcome.error
        return await self._succeeded(request, outcome, waited=self._clock.monotonic() - began)

    async def _succeeded(self, request: _Request, outcome: _Outcome, *, waited: float) -> Image:
        self._failures.pop((request.uid, request.written), None)
        self._away.pop(request.reference.domain, None)
        image = await self._look(request)
        if image is None:
            raise self._failed(request, ImagePullError("the image was removed after its pull"))
        request.tell(
            "Pulled",
            f'Successfully pulled image "{request.written}" in {go_duration(outcome.seconds)}'
            f" ({go_duration(waited)} including waiting). Image size: {image.size_bytes} bytes.",
        )
        return image

    async def _pull_with_each_login(self, request: _Request, present: Image | None) -> _Outcome:
        outcome = _Outcome(None, 0.0)
        for auth in request.auths:
            outcome = await self._single_flight(request, auth, present)
            if not isinstance(outcome.error, ImagePullError):
                break
            if isinstance(outcome.error, RegistryUnreachable):
                break
        return outcome

    async def _single_flight(
        self, request: _Request, auth: ImageAuth | None, present: Image | None
    ) -> _Outcome:
        """A caller that is cancelled leaves the pull to the others, and to the next try."""
        key = (request.name, auth)
        if present is None:
            self._lacking.add(key)
        pull = self._pulls.get(key)
        if pull is None or pull.done():
            pull = asyncio.create_task(self._pull(request, auth), name=f"pull {request.name}")
            pull.add_done_callback(lambda done: self._ended(key, done))
            self._pulls[key] = pull
        return await asyncio.shield(pull)

    def _ended(self, key: _Pull, pull: asyncio.Task[_Outcome]) -> None:
        if self._pulls.get(key) is pull:
            del self._pulls[key]
            self._lacking.discard(key)

    async def _pull(self, request: _Request, auth: ImageAuth | None) -> _Outcome:
        async with self._turn:
            if self._is_away(request) and (request.name, auth) not in self._lacking:
                return _Outcome(RegistryUnreachable(_AWAY), 0.0)
            began = self._clock.monotonic()
            error: KubetideError | None = None
            try:
                await self._runtime.pull_image(request.name, auth)
            except KubetideError as raised:
                error = raised
            if isinstance(error, RegistryUnreachable):
                # Before the next one has its turn.
                self._away[request.reference.domain] = self._clock.monotonic() + _AWAY_FOR
            return _Outcome(error, self._clock.monotonic() - began)

    def _failed(self, request: _Request, error: KubetideError) -> ImageTrouble:
        """Remembers the failure, each time for twice as long."""
        now = self._clock.monotonic()
        key = (request.uid, request.written)
        last = self._failures.get(key)
        known = last is not None and now - last.until < _FORGOTTEN_AFTER
        wait = min(last.wait * 2, MOST_BACKOFF) if last and known else FIRST_BACKOFF
        reason, words = _verdict(request.written, str(error))
        self._failures[key] = _Failure(now, wait, reason, words)
        request.warn("Failed", f'Failed to pull image "{request.written}": {error}')
        if isinstance(error, InvalidImageName):
            return _trouble(request, "InvalidImageName", str(error))
        return _trouble(request, reason, words, delay=_SHOWN_FOR)

    def _respect_backoff(self, request: _Request) -> None:
        failure = self._failures.get((request.uid, request.written))
        left = failure.until - self._clock.monotonic() if failure else 0.0
        if failure is not None and left > 0:
            words = f'Back-off pulling image "{request.written}"'
            request.tell("BackOff", words)
            full = f"{words}: {failure.reason}: {failure.words}"
            raise _trouble(request, "ImagePullBackOff", full, delay=left)

    def _is_away(self, request: _Request) -> bool:
        return self._away.get(request.reference.domain, 0.0) > self._clock.monotonic()

    def _make_do(self, request: _Request, present: Image, *, why: str) -> Image:
        request.warn(
            "RegistryUnreachable",
            f'Image "{request.written}" could not be looked up in its registry; using the image'
            f" that is on this device: {why}",
        )
        log.info("registry away, image on the device used", image=request.written)
        return present


def _request(
    pod: Json,
    container: Json,
    secrets: Iterable[Json],
    *,
    record: Record,
    of_volume: bool,
) -> _Request:
    written = str(container.get("image") or "")
    path = specs.field_path(pod, container["name"])
    try:
        reference = parse(written)
    except InvalidImageName as error:
        words = f'Failed to apply default image tag "{written:.300}": {error}'
        record(warning("InspectFailed", words, field_path="" if of_volume else path))
        record(warning("Failed", "Error: InvalidImageName", field_path=path))
        raise ImageTrouble("InvalidImageName", words, delay=MOST_BACKOFF) from error
    return _Request(
        uid=specs.uid_of(pod),
        written=written,
        reference=reference,
        policy=pull_policy(container.get("imagePullPolicy") or "", written),
        path=path,
        record=record,
        of_volume=of_volume,
        auths=credentials.logins(secrets, reference) or (None,),
    )


def _trouble(
    request: _Request, reason: str, words: str, *, delay: float | None = None
) -> ImageTrouble:
    request.record(warning("Failed", f"Error: {reason}", field_path=request.path))
    return ImageTrouble(reason, words, delay=delay)


def _verdict(image: str, words: str) -> tuple[str, str]:
    """Reason and message of a failed pull; some reasons are the runtime's own (CRI-O)."""
    for reason, why in _VERDICTS.items():
        if words.startswith(reason):
            return reason, f"image pull failed for {image} because {why}{words[len(reason) :]}"
    return "ErrImagePull", words


def _already_present(request: _Request) -> str:
    return (
        f'Container image "{request.written}" already present on machine and can be accessed by'
        " the pod"
    )


def _missing(names: Sequence[str]) -> str:
    return (
        f"Unable to retrieve some image pull secrets ({', '.join(names)}); attempting to pull the"
        " image may not succeed."
    )
