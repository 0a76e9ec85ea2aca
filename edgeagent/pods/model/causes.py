"""Why the agent stops a container, and what follows from it for its next start.

Chosen by the planner, carried by ``StopContainer``, kept in ``ContainerFacts.killed``: a container
that was to be killed is killed also by the next agent. The values are in the database.
"""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    NONE = ""
    POD = "pod"
    """The whole pod stops."""
    LIVENESS = "liveness"
    STARTUP = "startup"
    SPEC = "spec"
    """Its spec asks for something else."""
    RESIZE = "resize"
    ALL = "all"
    """The whole pod begins anew (``restarting_all.py``)."""
    SOURCE = "all-source"
    """It ended, and a rule of its own lets all of the pod begin anew."""
    HOOK = "hook"
    """Its postStart hook failed."""
    SHUTDOWN = "shutdown"
    """The device shuts down: it runs again at the next boot."""
    SANDBOX = "sandbox"
    """Its sandbox is left: it runs again in the next one."""
    UNKNOWN = "unknown"
    """The runtime could not say what it does: its end says nothing about its work."""

    @classmethod
    def known(cls, value: object) -> Cause:
        """As it was stored; NONE for one that only a newer agent knows."""
        return next((one for one in cls if one == value), cls.NONE)


BY_PROBE = frozenset({Cause.LIVENESS, Cause.STARTUP})
ANEW = frozenset({Cause.SPEC, Cause.RESIZE, Cause.ALL})
"""Stopped by us in order to be started anew, whatever the policy."""
REMEMBERED = frozenset(Cause) - {Cause.NONE, Cause.POD}
"""Those that decide about the next start."""
