"""What a look at a runtime shows: the order of containers, and what changed since the look before.

Pure; called by runtimes that must be polled, and by who remembers what it saw (``pods/observing``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from edgeagent.runtime.port import Change, Container, ContainerState, Sandbox, SandboxState

Looks = dict[str, frozenset[tuple[str, SandboxState | ContainerState]]]
"""By pod uid: the id and state of every sandbox and container that the list shows."""


def newest_first(containers: Iterable[Container]) -> tuple[Container, ...]:
    return tuple(sorted(containers, key=lambda one: (one.created_at, one.attempt), reverse=True))


def looks(sandboxes: Iterable[Sandbox]) -> Looks:
    found: dict[str, set[tuple[str, SandboxState | ContainerState]]] = defaultdict(set)
    for sandbox in sandboxes:
        found[sandbox.uid].add((sandbox.id, sandbox.state))
        found[sandbox.uid].update((one.id, one.state) for one in sandbox.containers)
    return {uid: frozenset(parts) for uid, parts in found.items()}


def changes(before: Looks, listed: Sequence[Sandbox]) -> list[Change]:
    after = looks(listed)
    uids = sorted(uid for uid in before.keys() | after.keys() if before.get(uid) != after.get(uid))
    return [Change(uid, tuple(one for one in listed if one.uid == uid)) for uid in uids]
