"""What can happen to a pod and its device: the sentences that histories are made of."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from edgeagent.pods.admission import preemption
from edgeagent.pods.model.view import Eviction, Shutdown, Wanted
from edgeagent.pods.rules.holding import HOLD
from edgeagent.runtime.port import Container
from shared.objects import Json
from tests.edge_planning import ledger as truth
from tests.edge_planning.device import Device

Happening = tuple[str, int]
Event = Callable[[Device, int], None]
T = TypeVar("T")

LIFE: dict[str, Event] = {}
"""What may happen to a pod that is to run."""
DEATH: dict[str, Event] = {}
"""What ends it, or makes it doubtful whether it is wanted."""

CODES = (0, 1, 2, 42, 137)


def life(event: Event) -> Event:
    LIFE[event.__name__] = event
    return event


def death(event: Event) -> Event:
    DEATH[event.__name__] = event
    return event


def happen(device: Device, happening: Happening) -> None:
    what, number = happening
    (LIFE.get(what) or DEATH[what])(device, number)


# Operations


@life
def an_operation_succeeds(device: Device, number: int) -> None:
    if action := _pick(device.operations.under_way(), number):
        device.finish(action, exit_code=143 if number % 2 else 0)


@life
def every_operation_succeeds(device: Device, number: int) -> None:
    for action in device.operations.under_way():
        device.finish(action, exit_code=143 if number % 2 else 0)


@life
def an_operation_fails(device: Device, number: int) -> None:
    if action := _pick(device.operations.under_way(), number):
        device.fail(action)


@life
def an_operation_was_done_and_still_fails(device: Device, number: int) -> None:
    if action := _pick(device.operations.under_way(), number):
        device.fail_late(action)


@life
def a_hook_fails(device: Device, number: int) -> None:
    if action := _pick(tuple(device.operations.in_hook), number):
        device.fail(action)


@life
def the_runtime_goes_away(device: Device, number: int) -> None:
    for action in device.operations.under_way():
        if action not in device.operations.in_hook:
            device.fail(action, reason="")
    device.runtime_is_away = True


@life
def the_runtime_is_back(device: Device, number: int) -> None:
    device.runtime_is_away = False


# Containers


@life
def a_container_exits(device: Device, number: int) -> None:
    if one := _container_of(device, number):
        device.ends(one.id, CODES[number % len(CODES)])


@life
def a_container_crashes_twice(device: Device, number: int) -> None:
    """So that its next end is waited for."""
    for _ in range(2):
        if one := _container_of(device, number):
            device.ends(one.id, 1)
        for seconds in (0.0, 301.0):
            device.look()
            device.clock.advance(seconds)
            every_operation_succeeds(device, number)


@life
def a_container_ends_so_that_all_may_begin_anew(device: Device, number: int) -> None:
    """Where it has such a rule, that is."""
    ruled = [one for one in device.running() if "restartPolicyRules" in _spec(device, one)]
    if one := _pick(tuple(ruled), number):
        device.ends(one.id, 42 if number % 2 else 2)


@life
def a_container_succeeds(device: Device, number: int) -> None:
    if one := _container_of(device, number):
        device.ends(one.id, 0)


@life
def an_init_container_fails_in_another_sandbox(device: Device, number: int) -> None:
    """Where the containers have run in the one before."""
    _goes_on_with_init_containers_that_end(device, number, 0)
    (device.power_cut, device.pause_dies)[number % 2]()
    _goes_on_with_init_containers_that_end(device, number, 1)


@life
def an_init_container_fails_after_all_began_anew(device: Device, number: int) -> None:
    _goes_on_with_init_containers_that_end(device, number, 0)
    a_container_ends_so_that_all_may_begin_anew(device, number)
    _goes_on_with_init_containers_that_end(device, number, 1)


def _goes_on_with_init_containers_that_end(device: Device, number: int, code: int) -> None:
    for _ in range(6):
        device.look()
        every_operation_succeeds(device, number)
        for one in list(_regular_inits(device)):
            device.ends(one.id, code)


@life
def a_liveness_probe_fails(device: Device, number: int) -> None:
    _probe_fails(device, number, "liveness", started=True)


@life
def a_startup_probe_fails(device: Device, number: int) -> None:
    _probe_fails(device, number, "startup", started=False)


@life
def a_startup_probe_succeeds(device: Device, number: int) -> None:
    one = _container_of(device, number)
    if one and _is_probed(device, one, "startup") and not device.ledger.of(one.id).started:
        device.startup_succeeds(one.id)


@life
def a_readiness_probe_changes_its_mind(device: Device, number: int) -> None:
    one = _container_of(device, number)
    if one and _is_probed(device, one, "readiness"):
        device.live.readiness[one.id] = not device.live.readiness.get(one.id)


@life
def the_runtime_loses_sight_of_a_container(device: Device, number: int) -> None:
    if one := _container_of(device, number):
        device.loses_sight(one.id)


@life
def the_runtime_loses_a_container(device: Device, number: int) -> None:
    if one := _pick(tuple(device.containers()), number):
        device.loses(one.id)


@life
def the_pause_container_dies(device: Device, number: int) -> None:
    device.pause_dies()


@life
def the_runtime_loses_everything(device: Device, number: int) -> None:
    device.loses_everything()


# The device


@life
def time_passes(device: Device, number: int) -> None:
    device.clock.advance((0.5, 1, 6, 11, 61, 301, 700)[number % 7])


@life
def the_wall_clock_jumps(device: Device, number: int) -> None:
    device.clock.trusted = False
    device.clock.wall = (100.0, device.clock.wall + 1e7, device.clock.wall - 1e5)[number % 3]


@life
def the_power_is_cut(device: Device, number: int) -> None:
    device.power_cut()


@life
def the_agent_restarts(device: Device, number: int) -> None:
    device.agent_starts()


@life
def the_disk_fills_up(device: Device, number: int) -> None:
    device.disk_is_full = True


@life
def the_disk_has_room_again(device: Device, number: int) -> None:
    device.disk_is_full = False


@life
def the_database_is_lost(device: Device, number: int) -> None:
    device.stored, device.behind = None, True
    device.agent_starts()


# What the API asks for


@life
def a_new_image(device: Device, number: int) -> None:
    kind = "containers" if number % 3 else "initContainers"
    _edit(device, kind, number, image=f"app:{number % 4}")


@life
def a_resize(device: Device, number: int) -> None:
    limits = {"cpu": str(1 + number % 2), "memory": f"{1 + number % 3}Gi"}
    kind = "containers" if number % 5 else "initContainers"
    _edit(device, kind, number, resources={"limits": limits})


@life
def a_resize_of_the_pod_as_a_whole(device: Device, number: int) -> None:
    body = copy.deepcopy(device.body)
    limits = {"cpu": str(6 + number % 3), "memory": f"{8 + number % 2}Gi"}
    if body.get("spec", {}).get("resources"):
        body["spec"]["resources"] = {"limits": limits}
        device.body = body


@life
def somebody_debugs(device: Device, number: int) -> None:
    body = copy.deepcopy(device.body)
    there = body.get("spec", {}).setdefault("ephemeralContainers", [])
    if body.get("metadata") and len(there) < 2:
        there.append({"name": f"debug-{len(there)}", "image": "debug:1"})
        device.body = body


@life
def a_config_map_changes(device: Device, number: int) -> None:
    device.live.volumes_stale = True
    device.live.forgive()


@life
def a_deadline_is_set_or_comes_nearer(device: Device, number: int) -> None:
    body = copy.deepcopy(device.body)
    if "spec" in body and ("activeDeadlineSeconds" in body["spec"] or number % 2):
        body["spec"]["activeDeadlineSeconds"] = (3000, 600, 60)[number % 3]
        device.body = body


@life
def the_hold_is_set_or_lifted(device: Device, number: int) -> None:
    body = copy.deepcopy(device.body)
    if body.get("metadata"):
        body["metadata"]["annotations"] = {HOLD: "true" if number % 2 else "false"}
        device.body = body


@life
def what_is_on_hold_is_released(device: Device, number: int) -> None:
    if device.live.facts.on_hold:
        device.live.facts = replace(device.live.facts, released=True)


@life
def a_window_opens_or_closes(device: Device, number: int) -> None:
    device.window_open = number % 2 == 0


@life
def the_device_has_room_for_a_resize_or_not(device: Device, number: int) -> None:
    device.has_room, device.will_have_room = number % 2 == 0, number % 3 > 0


@life
def a_shutdown_begins_or_is_called_off(device: Device, number: int) -> None:
    device.shutdown = Shutdown() if device.shutdown is None and number % 2 else None


@life
def its_turn_to_stop_with_the_device_comes(device: Device, number: int) -> None:
    if device.shutdown == Shutdown():
        device.shutdown = Shutdown((0, 1, 9)[number % 3], device.clock.monotonic())


@death
def it_is_deleted(device: Device, number: int) -> None:
    if device.body and device.wanted in (Wanted.RUN, Wanted.DELETE):
        device.wanted, device.grace = Wanted.DELETE, (0, 5, 60)[number % 3]


@death
def it_is_evicted(device: Device, number: int) -> None:
    if device.live.held().active:
        low = Eviction("The node was low on resource: memory. ")
        device.live.eviction = preemption.EVICTION if number % 2 else low


@death
def it_is_gone_from_the_list(device: Device, number: int) -> None:
    device.wanted, device.grace = Wanted.GONE, None


@death
def nobody_knows_whether_it_is_wanted(device: Device, number: int) -> None:
    if device.wanted is Wanted.RUN:
        device.wanted = Wanted.UNKNOWN


@death
def it_is_wanted_again(device: Device, number: int) -> None:
    if device.wanted in (Wanted.GONE, Wanted.UNKNOWN):
        device.wanted = Wanted.RUN


def _pick(these: tuple[T, ...], number: int) -> T | None:
    return these[number % len(these)] if these else None


def _container_of(device: Device, number: int) -> Container | None:
    return _pick(tuple(device.running()), number)


def _regular_inits(device: Device) -> Iterator[Container]:
    pod = device.live.pod
    for one in device.running() if pod else ():
        if one.name in truth.names(pod, "initContainers") and not truth.is_sidecar(pod, one.name):
            yield one


def _spec(device: Device, one: Container) -> Json:
    return (truth.container_spec(device.live.pod, one.name) or {}) if device.live.pod else {}


def _is_probed(device: Device, one: Container, kind: str) -> bool:
    in_hook = one.id in device.operations.in_hook.values()
    return f"{kind}Probe" in _spec(device, one) and not in_hook


def _probe_fails(device: Device, number: int, kind: str, *, started: bool) -> None:
    one = _container_of(device, number)
    if one and _is_probed(device, one, kind) and device.ledger.of(one.id).started is started:
        device.verdict(one.id, kind)


def _edit(device: Device, kind: str, number: int, **fields: object) -> None:
    body = copy.deepcopy(device.body)
    if containers := body.get("spec", {}).get(kind):
        containers[number % len(containers)].update(json.loads(json.dumps(fields)))
        device.body = body
