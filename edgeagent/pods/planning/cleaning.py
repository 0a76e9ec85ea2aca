"""Planning for a pod that has ended: give back what it holds, forget it when nobody wants it.

A finished pod that is still desired keeps its dead containers, for their logs; its network and
volumes are given back. Called by ``planner.py`` only.
"""

from __future__ import annotations

from edgeagent.pods.model.actions import (
    EnsureImage,
    Forget,
    RemoveSandbox,
    RemoveVolumes,
    RunPreStop,
    StartContainer,
    StopContainer,
    StopSandbox,
)
from edgeagent.pods.model.view import Wanted
from edgeagent.pods.planning.draft import Draft

VOLUMES = "volumes"
"""Stands in ``Live.cleaned`` beside the sandboxes."""


def clean(draft: Draft) -> None:
    view = draft.view
    for action in view.live.under_way:
        if isinstance(action, (EnsureImage, RunPreStop, StartContainer, StopContainer)):
            draft.abandon.append(action)
    cleaned = view.live.cleaned
    for sandbox in view.sandboxes:
        if sandbox.id not in cleaned:
            draft.act(StopSandbox(sandbox.id))
        elif view.wanted is not Wanted.RUN:
            draft.act(RemoveSandbox(sandbox.id))
    if any(sandbox.id not in cleaned for sandbox in view.sandboxes):
        return
    if VOLUMES not in cleaned:
        draft.act(RemoveVolumes())
    elif view.wanted is Wanted.GONE and not view.sandboxes and not draft.slots():
        draft.act(Forget())
