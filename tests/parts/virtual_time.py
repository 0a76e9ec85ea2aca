"""Stories that take minutes and run in milliseconds: a coroutine on the simulator's loop."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Coroutine
from typing import Any

from simulator.loop import VirtualLoop


def virtual(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes an async test run in virtual time."""

    @functools.wraps(story)
    def run(*arguments: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(random.Random(1))) as runner:
            runner.run(story(*arguments, **named))

    return run
