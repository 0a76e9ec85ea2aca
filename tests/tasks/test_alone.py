"""Tasks that run by themselves: what becomes of them is never silent."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from shared.tasks import alone, stop


async def test_what_a_task_raises_that_nobody_awaits_is_logged_with_its_name() -> None:
    async def fails() -> None:
        raise LookupError("nobody expects this")

    with capture_logs() as logged:
        task = alone(fails(), name="probe of web")
        await asyncio.wait({task})
        await asyncio.sleep(0)
    [line] = logged
    assert (line["event"], line["log_level"]) == ("task failed", "error")
    assert line["task"] == "probe of web"
    assert isinstance(line["exc_info"], LookupError)


async def test_a_task_that_ends_or_is_stopped_says_nothing() -> None:
    with capture_logs() as logged:
        ends, stops = (alone(asyncio.sleep(seconds), name="nap") for seconds in (0, 60))
        await ends
        await stop(stops)
        await asyncio.sleep(0)
    assert logged == []
