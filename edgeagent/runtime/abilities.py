"""Which runtime it is, and what it can do beyond the minimum. Values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass


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
