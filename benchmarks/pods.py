"""Rows about a pod's way through the system: create, many at once, delete, API requests."""

from __future__ import annotations

import time

from benchmarks.counting import metric_sum
from benchmarks.floor import Floor
from benchmarks.rows import Row, median, spread
from tests.parts.system import System

ONE_BY_ONE = 15
AT_ONCE = 20
REPEATS = 3


async def rows(system: System, floor: Floor) -> list[Row]:
    bare_create = [await floor.create_seconds() for _ in range(7)]
    bare_delete = [await floor.delete_seconds() for _ in range(5)]
    before = _requests(system)
    created, deleted = await _one_by_one(system)
    extra = (_requests(system) - before) / ONE_BY_ONE
    bare_many = [await floor.many_seconds(AT_ONCE, at_once=AT_ONCE) for _ in range(REPEATS)]
    many = [await _at_once(system, floor) for _ in range(REPEATS)]
    return [
        Row(
            what="pod create → Running seen in the API, one at a time, median",
            ours=f"{spread(created)}, {median(created) / median(bare_create):.2f} × the bare calls",
            peer="1.00 s",
            target="≤ 0.40 s",
            met=median(created) <= 0.40,
            method=f"POST to watch event; bare CRI calls in this run {spread(bare_create)}",
        ),
        Row(
            what=f"{AT_ONCE} pods at once → all Running",
            ours=f"{spread(many)}, {median(many) / median(bare_many):.2f} × the bare calls",
            peer="3.1–3.6 s",
            target="≤ 2.0 s",
            met=median(many) <= 2.0,
            method="first POST to last watch event, nothing left of the pods before; "
            f"bare CRI calls at once {spread(bare_many)}",
        ),
        Row(
            what="pod delete → gone from the API, median",
            ours=f"{spread(deleted)}, {median(deleted) / median(bare_delete):.2f} × the bare calls",
            peer="1.00 s",
            target="≤ 0.35 s",
            met=median(deleted) <= 0.35,
            method="DELETE to watch event, the container ends at once on SIGTERM; "
            f"bare stop of container and sandbox {spread(bare_delete)}",
        ),
        Row(
            what="API requests per pod life besides pod status, Events and the final delete",
            ours=f"{extra:.2f}",
            peer="12.5",
            target="0",
            met=extra < 0.05,
            method="the hub's own counter of requests, leases and watches left out",
        ),
    ]


async def _one_by_one(system: System) -> tuple[list[float], list[float]]:
    created, deleted = [], []
    for number in range(ONE_BY_ONE):
        name = f"one-{number}"
        started = time.monotonic()
        await system.create_pod(name)
        await system.running(name)
        created.append(time.monotonic() - started)
        started = time.monotonic()
        await system.delete_pod(name)
        await system.gone(name)
        deleted.append(time.monotonic() - started)
    return created, deleted


async def _at_once(system: System, floor: Floor) -> float:
    """On a node on which nothing else is started or removed, as with the bare calls."""
    await floor.until_empty()
    names = [f"many-{number}" for number in range(AT_ONCE)]
    started = time.monotonic()
    for name in names:
        await system.create_pod(name)
    await system.running(*names)
    took = time.monotonic() - started
    for name in names:
        await system.delete_pod(name, grace=0)
    await system.gone(*names)
    return took


def _requests(system: System) -> float:
    """Requests of the hub that are not a pod's status, an Event, the final delete or a lease."""
    name = "kubetide_hub_api_requests_total"
    every = metric_sum(system.metrics_port, name)
    expected = [
        {"resource": "pods/status"},
        {"resource": "events"},
        {"resource": "pods", "verb": "delete"},
        {"resource": "leases"},
        {"verb": "watch"},
    ]
    return every - sum(metric_sum(system.metrics_port, name, **one) for one in expected)
