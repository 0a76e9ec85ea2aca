"""How the agent stands: what ``edgeagent status`` and the service manager are told about it.

Lives in memory; kept on disk (one small record, written only when it changed) so that the command
line can tell it without asking the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

import structlog

from shared.clock import Clock
from shared.errors import StoreBusy
from shared.objects import Json

log = structlog.get_logger()

RETRY_SECONDS = 30.0


@dataclass(slots=True)
class Standing:
    node: str
    broker: str
    runtime: str
    version: str
    log_dir: str
    """Where the runtime writes the logs of containers."""
    link: str = "not connected yet"
    """``connected`` or why not."""
    since: float = 0.0
    """Wall clock of the last change of ``link``."""
    hub: str = ""
    """The replica that said it is there; empty = none, as far as known."""
    ready: bool = False
    """Pods are adopted and worked on."""
    runtime_message: str = ""
    """Why the runtime cannot be used; empty = it can."""
    static_pods: str = ""
    """Which files of the static-pods folder cannot be used, and why."""
    fenced: str = ""
    """Why this agent has stopped acting; empty = it acts."""

    def line(self) -> str:
        """One line for the service manager."""
        if self.fenced:
            return f"stopped acting: {self.fenced}"
        parts = [self.link if self.ready else "starting"]
        parts += [self.runtime_message] if self.runtime_message else []
        return "; ".join(parts)


class StandingKeeper:
    """Holds the ``Standing``; ``run`` brings every change of it to disk and to a listener."""

    def __init__(
        self,
        standing: Standing,
        *,
        save: Callable[[str, Json], Awaitable[None]],
        clock: Clock,
        told: Callable[[str], None],
    ) -> None:
        self.now = standing
        self._save = save
        self._clock = clock
        self._told = told
        self._changed = asyncio.Event()

    def update(self, **fields: object) -> None:
        changed = {
            name: value for name, value in fields.items() if getattr(self.now, name) != value
        }
        for name, value in changed.items():
            setattr(self.now, name, value)
        if "link" in changed:
            self.now.since = self._clock.now()
        if changed:
            self._changed.set()

    async def run(self) -> None:
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._told(self.now.line())
            try:
                await self._save("agent", asdict(self.now))
            except StoreBusy as error:
                log.warning("standing not stored", error=str(error))
                await self._clock.sleep(RETRY_SECONDS)
                self._changed.set()
            await self._clock.sleep(1)
