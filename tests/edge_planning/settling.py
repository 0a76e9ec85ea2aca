"""A kind world: from some moment on everything works. What a pod must come to then.

Nothing wakes the planner here but its own operations, its own due times and what containers do
by themselves, so that a plan which forgets to look again is found out.
"""

from __future__ import annotations

from edgeagent.pods.model.actions import StopContainer
from edgeagent.pods.model.view import Wanted
from edgeagent.pods.planning.cleaning import VOLUMES
from edgeagent.pods.planning.planner import Plan
from edgeagent.runtime.port import Container
from tests.edge_planning import ledger as truth
from tests.edge_planning.device import Device
from tests.edge_planning.ledger import NO, YES, Life

STEPS = 60
"""Passes in which every pod comes to rest, however deep it was in trouble."""


def _be_kind(device: Device) -> None:
    device.runtime_is_away = device.disk_is_full = False
    device.has_room, device.shutdown = True, None


def settle(device: Device) -> Plan:
    """Let everything work until the planner asks for nothing and waits for nothing."""
    _be_kind(device)
    for _ in range(STEPS):
        plan = device.look()
        if plan is None:
            raise AssertionError("nothing is left of the pod")
        if _go_on(device) or plan.actions:
            continue
        if plan.due is None or (_is_the_deadline(device, plan.due) and not _waits(device)):
            return plan
        assert plan.due > device.clock.monotonic(), "looks again and again for nothing"
        device.clock.advance(plan.due - device.clock.monotonic())
    raise AssertionError(f"never settles: {device.operations.under_way()}")


def die(device: Device) -> None:
    """Nobody wants it any more: in the end nothing is left of it, and no hook holds that up."""
    _be_kind(device)
    device.window_open = True
    device.wanted, device.grace = Wanted.GONE, None
    for _ in range(STEPS):
        plan = device.look()
        if device.forgotten:
            return
        assert plan is not None
        if not _go_on(device, hooks_hang=True) and not plan.actions:
            assert plan.due is not None, "waits for nothing"
            device.clock.advance(max(plan.due - device.clock.monotonic(), 0.0))
    raise AssertionError(f"never ends: {device.operations.under_way()}")


def _go_on(device: Device, *, hooks_hang: bool = False) -> bool:
    """What is under way ends well, init containers are done, startup probes succeed."""
    moved = False
    for action in device.operations.under_way():
        if action in device.operations.in_hook and hooks_hang:
            continue
        moved = True
        stops_well = isinstance(action, StopContainer)
        device.finish(action, exit_code=143 if stops_well else 0)
    pod = device.live.pod
    for one in device.running():
        spec = truth.container_spec(pod, one.name) if pod else None
        life = device.ledger.of(one.id)
        if spec and "startupProbe" in spec and not life.started and not life.causes:
            device.startup_succeeds(one.id)
            moved = True
        regular_init = one.name in truth.names(pod, "initContainers") if pod else False
        if regular_init and not truth.is_sidecar(pod, one.name):
            device.ends(one.id, 0)
            moved = True
    return moved


def _waits(device: Device) -> bool:
    """For a second try, or for the end of a back-off: the deadline may come before it."""
    pod, now = device.live.pod, device.clock.monotonic()
    lives = [device.ledger.newest(name) for name in truth.members(pod)]
    return any(one.retry_at > now for one in device.live.troubles.values()) or any(
        life and life.ended and device.ledger.again(pod, life) != NO for life in lives
    )


def _is_the_deadline(device: Device, due: float) -> bool:
    deadline = device.live.pod["spec"].get("activeDeadlineSeconds")
    taken_up = device.ledger.taken_up
    if deadline is None or taken_up is None:
        return False
    return not device.clock.trusted or abs(due - taken_up.monotonic - deadline) < 1.0


def has_come_to_rest(device: Device, plan: Plan) -> None:
    """What should run runs, what should not does not, and nobody is asked for anything."""
    if plan.facts.final is None:
        _runs_as_it_should(device)
    else:
        _has_ended(device, plan)
    again = device.look()
    assert again is not None
    assert not again.actions and not again.abandon, f"not quiet: {again}"
    device.clock.advance(0.25)
    later = device.look()
    assert later is not None and later.facts == again.facts
    assert not later.actions and not later.abandon
    assert later.status == again.status


def _runs_as_it_should(device: Device) -> None:
    pod, ledger = device.live.pod, device.ledger
    assert not (ledger.pod_causes & {"deleted", "gone"})
    mains = [ledger.newest(name) for name in truth.names(pod, "containers")]
    assert not all(life and life.ended and ledger.again(pod, life) == NO for life in mains)
    running = {one.name: one for one in device.running()}
    assert len(running) == len(device.running()), "one container of each name"
    homes = {one.sandbox_id for one in running.values()}
    assert len(homes) <= 1, "one sandbox"
    for name in truth.names(pod, "containers"):
        _runs_or_is_done(device, ledger.newest(name), running.get(name))
    for name in truth.names(pod, "initContainers"):
        if truth.is_sidecar(pod, name):
            assert name in running, f"sidecar {name} does not run"
        newest = ledger.newest(name)
        assert newest is None or newest.doubtful or not newest.past, f"{name} did not run again"
    for name in truth.names(pod, "ephemeralContainers"):
        assert ledger.newest(name) is not None, f"{name} was never started"
    for one in running.values():
        _is_as_specified(device, ledger.of(one.id))
    if running:
        assert ledger.of_pod == (pod["spec"].get("resources") or {}), "the pod as a whole"
    assert device.live.volumes_ready and not device.live.volumes_stale
    _has_tidied_up(device)


def _runs_or_is_done(device: Device, life: Life | None, running: Container | None) -> None:
    assert life is not None, "never started"
    if running is None:
        assert life.ended is not None
        assert device.ledger.again(device.live.pod, life) != YES, f"{life} does not run"
    else:
        assert running.id == life.id
        assert device.live.facts.containers[life.name].started, "startup probe forgotten"


def _is_as_specified(device: Device, life: Life) -> None:
    spec = truth.container_spec(device.live.pod, life.name)
    assert spec is not None
    assert life.spec["image"] == spec["image"]
    if life.name in truth.names(device.live.pod, "ephemeralContainers"):
        return  # It is never resized, also where it has the limits of the pod.
    assert life.spec["resources"] == (spec.get("resources") or {}), f"{life}"


def _has_tidied_up(device: Device) -> None:
    dead = [one for one in device.containers() if one.id not in {x.id for x in device.running()}]
    for name in {one.name for one in dead}:
        assert len([one for one in dead if one.name == name]) <= 2
    for box in device.sandboxes:
        live = any(one.sandbox_id == box.id for one in device.running())
        assert live or box.containers or len(device.sandboxes) == 1, f"{box.id} is left over"


def _has_ended(device: Device, plan: Plan) -> None:
    final = plan.facts.final
    assert final is not None and final["phase"] in ("Succeeded", "Failed")
    assert not device.running()
    boxes = {one.id for one in device.sandboxes}
    assert boxes <= device.live.cleaned and VOLUMES in device.live.cleaned
    assert not device.has_folder
