"""Which runtime it is, and what it can do beyond the minimum. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_MOUNTS_IMAGES = {"containerd": (2, 1), "cri-o": (1, 31)}
_MOUNTS_THEIR_FOLDERS = {"containerd": (2, 2), "cri-o": (1, 33)}
"""The first versions that can. No runtime says so itself: older ones leave the wish out silently,
and mount nothing, or the whole image instead of a folder of it."""
_STOPS_BY_SIGNAL = {"containerd": (2, 3), "cri-o": (1, 33)}
"""The first versions that stop a container by the signal that is asked for; likewise."""
_TELLS_ALL_FOLLOWERS = {"containerd": (2, 0)}
"""The first version that tells every follower of its container events. Before, each event goes to
one of them: half are lost to whoever else looks, and one to each follower that is gone."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A RuntimeClass handler, and what pods that run by it can have."""

    name: str = ""
    """Empty for the default one."""
    recursive_readonly: bool = False
    user_namespaces: bool = False


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """Name and version of the runtime, and what it can do beyond the minimum."""

    name: str
    version: str
    has_events: bool = False
    handlers: tuple[Handler, ...] = (Handler(),)
    lists_handlers: bool = False
    """Whether it says itself which they are and what they can; else they can nothing special."""
    cgroup_driver: str = "cgroupfs"
    strict_groups: bool | None = None
    """Whether it knows supplementalGroupsPolicy Strict; None = it does not say."""
    sandbox_image: str = ""
    """Where the runtime tells it instead of pinning it."""


def no_image_volume(name: str, version: str, *, folder: bool = False) -> str:
    """Why this runtime mounts no image, or no ``folder`` of one, as a volume; empty if it does.

    What is not known yet is not denied.
    """
    first = _MOUNTS_THEIR_FOLDERS if folder else _MOUNTS_IMAGES
    if not version or (name in first and _numbers(version) >= first[name]):
        return ""
    what = "a folder of an image" if folder else "an image"
    return f"{name} {version} cannot mount {what} as a volume; {_able(first)}"


def no_stop_signal(name: str, version: str) -> str:
    """Why this runtime stops containers by the signal of their image, whatever is asked for; empty
    if it does not, or is not known."""
    first = _STOPS_BY_SIGNAL.get(name)
    if not version or first is None or _numbers(version) >= first:
        return ""
    return f"{name} {version} goes by the signal of the image; {_able(_STOPS_BY_SIGNAL)}"


def tells_all_followers(name: str, version: str) -> bool:
    """Whether nobody else can take this runtime's container events away."""
    return _numbers(version) >= _TELLS_ALL_FOLLOWERS.get(name, ())


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(one) for one in re.findall(r"\d+", version)[:2])


def _able(first: Mapping[str, tuple[int, int]]) -> str:
    able = " and ".join(f"{one} {'.'.join(map(str, since))}" for one, since in first.items())
    return f"{able} and newer can"
