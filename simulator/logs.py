"""The programs' log lines, into the journal: all of them for a story, errors always.

An error-level line in a world where every fault is one that the programs must bear is a finding,
unless it is one of the ``EXPECTED``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from simulator.journal import Journal
from simulator.loop import LIFE

EXPECTED: tuple[str, ...] = (
    "database set aside, starting with a fresh one",
    "the stored list is damaged; waiting for the hub's before anything is deleted",
    "unreadable inventory row",
    "unreadable body, will be fetched",
    "unreadable record dropped",
    "unreadable report dropped",
    "a pod's stored facts cannot be read",
    "cannot store, not acknowledged",
    "reports not stored, sent from memory",
    "tokens not stored, served from memory",
    "unreadable token dropped",
    "connection counter not stored",
    "database not opened, all stays as it is",
    "facts of a pod not stored",
    "pod cannot be used",
    "static pods not read",
    "static pod file cannot be used",
    "static pods not stored",
    "a stored static pod cannot be read",
)
"""Error lines that the simulator's own faults provoke: a damaged file, a full disk."""

_verbose = False


def configure(*, story: bool) -> None:
    """Once per process."""
    global _verbose
    _verbose = story
    level = logging.DEBUG if story else logging.ERROR
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )


@contextmanager
def into(journal: Journal) -> Iterator[None]:
    """Log lines of this process belong to this journal now."""

    def write(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        life = LIFE.get()
        who = life.name if life else "outside"
        level, text = event.pop("level"), str(event.pop("event"))
        if life is None or life.alive:
            journal.say(who, f"[{level}] {text}", **event)
            if level in ("error", "critical") and text not in EXPECTED:
                journal.fail("error-log", f"{who}: {text} {_brief(event)}")
        raise structlog.DropEvent

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[*before, write])
    try:
        yield
    finally:
        structlog.configure(processors=before)


def _brief(event: MutableMapping[str, Any]) -> str:
    return " ".join(f"{name}={str(value)[:200]}" for name, value in event.items())
