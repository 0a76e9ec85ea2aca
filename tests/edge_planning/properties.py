"""What holds after any history. Every plan on the way there was put before the judge."""

from __future__ import annotations

from edgeagent.pods.model.view import Wanted
from shared.objects import Json
from tests.edge_planning.device import Device
from tests.edge_planning.happenings import Happening, happen
from tests.edge_planning.settling import die, has_come_to_rest, settle


def lived(pod: Json, history: list[Happening], *, admitted: bool = True) -> Device:
    device = Device(pod, admitted=admitted)
    for happening in history:
        device.look()
        if device.forgotten and device.ledger.taken_up:
            break
        happen(device, happening)
    return device


def an_unwanted_pod_ends(
    pod: Json, life: list[Happening], death: list[Happening], *, admitted: bool = True
) -> None:
    die(lived(pod, [*life, *death], admitted=admitted))


def a_wanted_pod_comes_to_rest_with_all_running_that_should(
    pod: Json, life: list[Happening], death: list[Happening], *, admitted: bool = True
) -> None:
    device = lived(pod, life, admitted=admitted)
    has_come_to_rest(device, settle(device))


def a_pod_that_is_wanted_after_all_comes_to_rest(
    pod: Json, life: list[Happening], death: list[Happening], *, admitted: bool = True
) -> None:
    """Evicted, forgotten by the list for a while, or held up: whatever became of it stays so."""
    kept = [one for one in death if one[0] != "it_is_deleted"]
    device = lived(pod, [*life, *kept], admitted=admitted)
    if not device.forgotten:
        device.wanted, device.window_open = Wanted.RUN, True
        plan = settle(device)
        has_come_to_rest(device, plan)
        evicted = device.live.eviction is not None
        assert plan.facts.final is not None or not evicted, "evicted, and goes on"


def a_deleted_pod_ends_and_says_so(
    pod: Json, life: list[Happening], death: list[Happening], *, grace: int | None = None
) -> None:
    device = lived(pod, life)
    device.wanted, device.grace, device.window_open = Wanted.DELETE, grace, True
    settle(device)
    assert device.live.facts.final is not None
    assert not device.running() and not device.sandboxes


PROPERTIES = (
    an_unwanted_pod_ends,
    a_wanted_pod_comes_to_rest_with_all_running_that_should,
    a_deleted_pod_ends_and_says_so,
)
