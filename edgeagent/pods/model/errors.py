"""Why a pod cannot go on for now, in a kubelet's words: ``reason`` is the waiting reason.

Raised while the files, the images and the configuration of a pod are made; all of them may pass
by themselves (an object arrives, a registry returns), so they are temporary. The worker shows
``reason`` and the message in the status and as an Event, and tries again after ``delay``.
"""

from __future__ import annotations

from shared.errors import TemporaryError

SANDBOX_FAILED = "FailedCreatePodSandBox"


class PodTrouble(TemporaryError):
    """``event`` is the reason of the Event that goes with it; empty = one was recorded already."""

    def __init__(
        self, reason: str, message: str, *, event: str = "Failed", delay: float | None = None
    ) -> None:
        super().__init__(message, delay=delay)
        self.reason = reason
        self.event = event


class ConfigError(PodTrouble):
    """A container's configuration cannot be made."""

    def __init__(self, message: str) -> None:
        super().__init__("CreateContainerConfigError", message)


class SandboxConfigError(PodTrouble):
    """A pod's shared world cannot be configured."""

    def __init__(self, message: str) -> None:
        super().__init__("CreatePodSandboxError", message, event=SANDBOX_FAILED)


class MountError(PodTrouble):
    """A volume cannot be made; the message names the volume, and the step if it is another one."""

    def __init__(self, volume: str, why: str, *, step: str = "MountVolume.SetUp failed") -> None:
        message = f'{step} for volume "{volume}" : {why}'
        super().__init__("ContainerCreating", message, event="FailedMount")
        self.volume = volume


class ContentsError(MountError):
    """An object that the volume's files come from is missing or wrong: nothing is to be tried again
    before objects change."""


class ClaimError(PodTrouble):
    """A claim does not lead to a volume; ``claim`` is its namespace and name."""

    def __init__(self, volume: str, claim: str, why: str) -> None:
        message = (
            f"Unable to attach or mount volumes: unmounted volumes=[{volume}], unattached"
            f" volumes=[], failed to process volumes=[{volume}]: error processing PVC {claim}:"
            f" {why}"
        )
        super().__init__("ContainerCreating", message, event="FailedMount")


class ImageTrouble(PodTrouble):
    """The image is not at hand; Events of the attempt were recorded by ``images/pulling.py``."""

    def __init__(self, reason: str, message: str, *, delay: float | None = None) -> None:
        super().__init__(reason, message, event="", delay=delay)
