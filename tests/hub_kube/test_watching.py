"""The endless watch against a scripted server: relists, resumes, and never invents an absence.

Time is the loop's own; delays are shrunk by a clock that sleeps a hundredth.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cloudhub.kube.access import open_access
from cloudhub.kube.client import KubeClient
from cloudhub.kube.port import PODS, Change, WatchEvent
from shared.clock import SystemClock
from shared.tasks import stop
from tests.hub_kube.scripted import (
    Answer,
    Script,
    event,
    listed,
    refused,
    says,
    serving,
    streams,
)

AS_NEW = listed(version="1000")
"""The answer to whether the server is older than what we have seen of it."""
GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}


class HastyClock(SystemClock):
    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(seconds / 100)


async def waits(request: Any) -> Any:
    """A watch on which nothing happens."""
    return await streams()(request) if await asyncio.sleep(30) else None


@asynccontextmanager
async def watching(
    folder: Path, *answers: Answer, clock: HastyClock | None = None, **options: Any
) -> AsyncIterator[tuple[AsyncIterator[WatchEvent], Script, HastyClock]]:
    script, clock = Script(list(answers)), clock or HastyClock()
    async with serving(script, folder) as kubeconfig:
        client = KubeClient(await open_access(str(kubeconfig)), clock=clock, rng=random.Random(1))
        events = client.watch(PODS, **options)
        try:
            yield events, script, clock
        finally:
            await events.aclose()  # type: ignore[attr-defined]
            await client.close()


async def take(events: AsyncIterator[WatchEvent], count: int) -> list[str]:
    """The next events as short words: ``LISTED a b``, ``SET a``."""
    words = []
    async with asyncio.timeout(10):
        while len(words) < count:
            found = await anext(events)
            objects = found.objects if found.change is Change.LISTED else (found.object,)
            names = [obj["metadata"]["name"] for obj in objects]
            words.append(" ".join([found.change.value, *names]))
    return words


async def take_none_until(moment: Awaitable[None], events: AsyncIterator[WatchEvent]) -> None:
    """Let the watch run on, with nothing to say, until ``moment``."""
    reading = asyncio.ensure_future(anext(events))
    await moment
    assert not reading.done()
    await stop(reading)


async def test_a_list_then_what_changes(tmp_path: Path) -> None:
    changes = streams(event("ADDED", "b", "101"), event("MODIFIED", "b", "102"))
    more = streams(event("DELETED", "b", "103"))
    answers = (listed("a"), changes, AS_NEW, more, AS_NEW, waits)
    async with watching(tmp_path, *answers) as (events, script, _):
        assert await take(events, 4) == ["LISTED a", "SET b", "SET b", "DELETED b"]
    watches = [request for request in script.seen if "watch" in request.query]
    assert [request.query["resourceVersion"] for request in watches[:2]] == ["100", "102"]
    assert watches[0].query["allowWatchBookmarks"] == "true"


async def test_a_bookmark_moves_the_version_and_is_no_event(tmp_path: Path) -> None:
    marked = streams(event("BOOKMARK", "", "150"))
    after = streams(event("ADDED", "b", "151"))
    async with watching(tmp_path, listed(), marked, AS_NEW, after, waits) as (events, script, _):
        assert await take(events, 2) == ["LISTED", "SET b"]
    assert script.seen[3].query["resourceVersion"] == "150"


async def test_an_expired_version_in_the_stream_lists_again(tmp_path: Path) -> None:
    answers = (listed("a"), streams(GONE), listed("b", version="200"), waits)
    async with watching(tmp_path, *answers) as (events, _, clock):
        assert await take(events, 2) == ["LISTED a", "LISTED b"]
    assert len(clock.slept) == 1, "one short pause"


async def test_an_expired_version_at_the_door_lists_again(tmp_path: Path) -> None:
    answers = (listed("a"), refused(410, "Expired"), listed("b"), waits)
    async with watching(tmp_path, *answers) as (events, _, _clock):
        assert await take(events, 2) == ["LISTED a", "LISTED b"]


async def test_a_cut_connection_resumes_where_it_was(tmp_path: Path) -> None:
    cut = streams(event("ADDED", "b", "101"), '{"type": "ADDED", "obj', cut=True)
    answers = (listed("a"), cut, AS_NEW, streams(event("ADDED", "c", "102")), waits)
    async with watching(tmp_path, *answers) as (events, script, _):
        assert await take(events, 3) == ["LISTED a", "SET b", "SET c"]
    assert script.seen[3].query["resourceVersion"] == "101"


async def test_a_server_that_went_back_while_the_watch_was_broken_is_listed_again(
    tmp_path: Path,
) -> None:
    """It was restored from a backup; a watch from our version would be silent for long."""
    cut = streams(event("ADDED", "b", "101"), cut=True)
    answers = (listed("a"), cut, listed("a", version="90"), listed("a", version="91"), waits)
    selector = {"field_selector": "spec.nodeName!="}
    async with watching(tmp_path, *answers, **selector) as (events, script, _):
        assert await take(events, 3) == ["LISTED a", "SET b", "LISTED a"]
        await take_none_until(script.asked(5), events)
    assert dict(script.seen[2].query) == {"limit": "1"}, "not searched for what we watch"
    assert script.seen[4].query["resourceVersion"] == "91"


async def test_a_watch_that_ends_when_it_should_goes_on_without_a_question(tmp_path: Path) -> None:
    class Patient(HastyClock):
        def monotonic(self) -> float:
            return super().monotonic() * 1e6

    answers = (listed("a"), streams(event("ADDED", "b", "101")), waits)
    async with watching(tmp_path, *answers, clock=Patient()) as (events, script, _):
        assert await take(events, 2) == ["LISTED a", "SET b"]
        await take_none_until(script.asked(3), events)
    assert script.seen[2].query["resourceVersion"] == "101"


async def test_garbage_in_the_stream_resumes_where_it_was(tmp_path: Path) -> None:
    garbage = streams(event("ADDED", "b", "101"), "garbage\n", event("DELETED", "a", "102"))
    answers = (listed("a"), garbage, AS_NEW, streams(event("ADDED", "c", "102")), waits)
    async with watching(tmp_path, *answers) as (events, _, _clock):
        assert await take(events, 3) == ["LISTED a", "SET b", "SET c"]


async def test_a_list_that_fails_is_tried_again_and_never_an_empty_one(tmp_path: Path) -> None:
    answers = (says("", status=500), says("{}"), says("[]"), refused(403, "Forbidden"))
    async with watching(tmp_path, *answers, listed("a"), waits) as (events, script, clock):
        assert await take(events, 1) == ["LISTED a"]
    assert len(script.seen) >= 5
    assert clock.slept == sorted(clock.slept), "the delays grow"


async def test_a_list_that_breaks_in_the_middle_is_not_given(tmp_path: Path) -> None:
    half = listed("a", **{"continue": "more"})
    answers = (half, says("", status=503), half, listed("b"), waits)
    async with watching(tmp_path, *answers) as (events, _, _clock):
        assert await take(events, 1) == ["LISTED a b"]


async def test_a_relist_that_fails_keeps_what_was_known(tmp_path: Path) -> None:
    answers = (listed("a"), streams(GONE), says("", status=500), listed("a", "b"), waits)
    async with watching(tmp_path, *answers) as (events, _, _clock):
        assert await take(events, 2) == ["LISTED a", "LISTED a b"]


async def test_a_server_that_asks_to_wait_is_not_asked_sooner(tmp_path: Path) -> None:
    slow = says("", status=429, Retry_After="9")
    async with watching(tmp_path, slow, listed(), slow, waits) as (events, script, clock):
        assert await take(events, 1) == ["LISTED"]
        await take_none_until(script.asked(4), events)
    assert [delay for delay in clock.slept if delay >= 9] == clock.slept


async def test_watches_that_end_at_once_are_slowed_down_and_end_in_a_relist(
    tmp_path: Path,
) -> None:
    """A server whose versions began anew ends our watches without saying why."""
    ended = [streams(), AS_NEW] * 4
    answers = (listed("a"), *ended[:-1], listed("b", version="7"), waits)
    async with watching(tmp_path, *answers) as (events, _, clock):
        assert await take(events, 2) == ["LISTED a", "LISTED b"]
    assert len(clock.slept) == 5


async def test_large_objects_and_many_in_one_piece_arrive_whole(tmp_path: Path) -> None:
    large = event("ADDED", "b", "101")
    large["object"]["data"] = "x" * 5_000_000
    several = streams(large, event("ADDED", "c", "102"), "\n", event("ADDED", "d", "103"))
    async with watching(tmp_path, listed(), several, waits) as (events, _, _clock):
        assert await take(events, 4) == ["LISTED", "SET b", "SET c", "SET d"]


async def test_metadata_only_asks_for_partial_objects(tmp_path: Path) -> None:
    async with watching(tmp_path, listed("a"), waits, metadata_only=True) as (events, script, _):
        await take(events, 1)
        await take_none_until(script.asked(2), events)
    asked = [request.headers["Accept"] for request in script.seen]
    assert asked[0].startswith("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,")
    assert asked[1].startswith("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,")
