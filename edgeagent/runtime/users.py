"""Whom a container's first process began as, as the runtime tells: a value.

A part of the vocabulary of ``port.py``, made by ``cri_answers.py`` and read by the pods layer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContainerUser:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """All of them: the pod's, and those that its image makes the user a member of."""
