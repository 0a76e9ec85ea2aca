"""Bugs that the random histories found in the planner, each as a plain story."""

from __future__ import annotations

import copy
from typing import Any

from edgeagent.pods.model.actions import (
    EnsureImage,
    Forget,
    PrepareVolumes,
    RemoveVolumes,
    ResizeContainer,
    StartContainer,
    StopContainer,
    StopSandbox,
)
from edgeagent.pods.model.view import Shutdown, Wanted
from edgeagent.pods.planning.planner import Plan
from shared.objects import Json
from tests.edge_planning.device import RETRY_SECONDS, Device
from tests.edge_planning.ledger import ALL_ANEW
from tests.edge_planning.settling import settle

HOOK = {"postStart": {"sleep": {"seconds": 3600}}}


def a_pod(*containers: Json, **fields: Any) -> Json:
    spec = {
        "containers": [{"image": "app:1", **one} for one in containers],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        **fields,
    }
    return {"metadata": {"name": "web", "namespace": "default", "uid": "uid"}, "spec": spec}


def with_volumes(pod: Json) -> Device:
    """All else of the pod is still to be done."""
    device = Device(pod)
    look(device)
    device.finish(PrepareVolumes())
    return device


def look(device: Device) -> Plan:
    plan = device.look()
    assert plan is not None
    return plan


def go_on(device: Device, passes: int = 1) -> Plan:
    """Everything that is under way ends well, but hooks go on."""
    for _ in range(passes):
        look(device)
        for action in device.operations.under_way():
            if action not in device.operations.in_hook:
                device.finish(action)
    return look(device)


def edit(device: Device, **fields: object) -> None:
    device.body = copy.deepcopy(device.body)
    device.body["spec"]["containers"][0].update(fields)


def under_way(device: Device, kind: type) -> list[Any]:
    return [one for one in device.operations.under_way() if isinstance(one, kind)]


def test_a_failed_container_is_stopped_while_one_whose_name_goes_on_from_its_own_starts() -> None:
    device = Device(a_pod({"name": "a"}, {"name": "ab", "lifecycle": HOOK}))
    go_on(device, 4)
    assert [one.name for one in under_way(device, StartContainer)] == ["ab"]
    failed = next(one for one in device.running() if one.name == "a")
    device.verdict(failed.id, "liveness")
    assert [one.name for one in look(device).actions] == ["a"]  # type: ignore[union-attr]


def test_a_pull_of_an_image_that_is_not_wanted_any_more_is_given_up() -> None:
    device = with_volumes(a_pod({"name": "a"}))
    look(device)
    edit(device, image="app:2")
    plan = look(device)
    assert plan.abandon == (EnsureImage("a", "app:1"),)
    assert EnsureImage("a", "app:2") in plan.actions


def test_a_container_never_starts_with_the_image_of_an_older_spec() -> None:
    device = with_volumes(a_pod({"name": "a"}))
    look(device)
    device.finish(EnsureImage("a", "app:1"))
    edit(device, image="app:2")
    settle(device)
    (running,) = device.running()
    assert device.ledger.of(running.id).spec["image"] == "app:2"


def test_another_image_is_pulled_at_once_however_long_the_one_before_has_to_wait() -> None:
    device = with_volumes(a_pod({"name": "a"}))
    look(device)
    device.fail(EnsureImage("a", "app:1"))
    assert not under_way(device, EnsureImage) and not look(device).actions
    edit(device, image="app:2")
    assert EnsureImage("a", "app:2") in look(device).actions


def test_a_resize_that_comes_while_the_container_is_being_made_reaches_it() -> None:
    limits = {"limits": {"memory": "1Gi"}}
    device = with_volumes(a_pod({"name": "a", "resources": limits}))
    go_on(device)
    assert under_way(device, StartContainer)
    edit(device, resources={"limits": {"memory": "2Gi"}})
    settle(device)
    (running,) = device.running()
    assert device.ledger.of(running.id).spec["resources"] == {"limits": {"memory": "2Gi"}}


def test_the_hook_of_a_dead_container_does_not_hold_up_the_end_of_its_pod() -> None:
    device = with_volumes(a_pod({"name": "a", "lifecycle": HOOK}))
    go_on(device, 2)
    (started,) = device.running()
    device.ends(started.id, 1)
    look(device)
    device.wanted = Wanted.DELETE
    plan = look(device)
    assert plan.facts.final is not None
    assert [one.name for one in plan.abandon] == ["a"]  # type: ignore[union-attr]


def test_the_hook_of_a_container_that_is_lost_does_not_hold_up_the_end_of_its_pod() -> None:
    device = with_volumes(a_pod({"name": "a", "lifecycle": HOOK}))
    go_on(device, 2)
    (started,) = device.running()
    device.loses(started.id)
    look(device)
    device.wanted = Wanted.DELETE
    assert look(device).facts.final is not None


def test_a_pod_does_not_end_while_all_its_containers_are_stopped_to_begin_anew() -> None:
    """Though none would start again by its own policy."""
    rule = {"action": ALL_ANEW, "exitCodes": {"operator": "In", "values": [42]}}
    source = {"restartPolicy": "Always", "restartPolicyRules": [rule]}
    device = with_volumes(
        a_pod(
            {"name": "a"},
            initContainers=[{"name": "proxy", "image": "app:1", **source}],
            restartPolicy="Never",
        )
    )
    go_on(device, 3)
    (start,) = under_way(device, StartContainer)
    device.ends(device.running()[0].id, 42)
    look(device)
    device.finish(start)
    device.ends(device.running()[0].id, 0)
    assert look(device).facts.final is None
    settle(device)
    assert {one.name: one.attempt for one in device.running()} == {"proxy": 1, "a": 1}


def test_a_sandbox_that_died_is_unplugged_after_the_start_in_it_has_ended() -> None:
    port = [{"containerPort": 80, "hostPort": 8080}]
    device = with_volumes(a_pod({"name": "a", "ports": port}))
    go_on(device)
    (start,) = under_way(device, StartContainer)
    device.pause_dies()
    assert not look(device).actions
    device.fail(start)
    assert look(device).actions == (StopSandbox("s1"),)


def test_a_pod_that_is_wanted_again_uses_nothing_that_is_just_being_given_back() -> None:
    device = with_volumes(a_pod({"name": "a"}))
    look(device)
    for action in device.operations.under_way():
        device.finish(action)
    device.wanted = Wanted.GONE
    assert look(device).actions == (StopSandbox("s1"),)
    device.wanted = Wanted.RUN
    assert not [one for one in look(device).actions if isinstance(one, StartContainer)]
    settle(device)
    assert {one.sandbox_id for one in device.running()} == {"s2"}


def test_a_pod_that_is_wanted_again_waits_until_its_volumes_are_removed() -> None:
    device = with_volumes(a_pod({"name": "a"}))
    look(device)
    device.wanted = Wanted.GONE
    for action in device.operations.under_way():
        device.finish(action)
    while not under_way(device, RemoveVolumes):
        go_on(device)
    device.wanted = Wanted.RUN
    plan = look(device)
    assert not [one for one in plan.actions if one.slot in ("volumes", "sandbox")]
    settle(device)
    assert device.running() and device.live.volumes_ready


def test_volumes_go_that_were_made_anew_for_a_pod_that_had_no_sandbox_any_more() -> None:
    device = with_volumes(a_pod({"name": "a"}))
    device.wanted = Wanted.GONE
    look(device)
    device.finish(RemoveVolumes())
    device.wanted = Wanted.RUN
    look(device)
    device.fail(PrepareVolumes())
    device.wanted = Wanted.GONE
    device.clock.advance(RETRY_SECONDS)
    assert look(device).actions == (RemoveVolumes(),)


def test_a_container_that_was_lost_starts_again_after_its_back_off() -> None:
    device = Device(a_pod({"name": "a"}))
    go_on(device, 3)
    device.ends(device.running()[0].id, 1)
    go_on(device, 3)
    (second,) = device.running()
    device.loses(second.id)
    device.clock.advance(1)
    due = look(device).due
    assert due == device.clock.monotonic() + 10
    device.clock.advance(10)
    assert go_on(device, 2) and device.running()


def test_a_dead_container_that_somebody_removes_does_not_make_the_next_one_wait_anew() -> None:
    device = Device(a_pod({"name": "a"}))
    go_on(device, 3)
    device.ends(device.running()[0].id, 1)
    go_on(device, 3)
    (second,) = device.running()
    device.ends(second.id, 1)
    due = look(device).due
    device.clock.advance(9)
    device.loses(second.id)
    assert look(device).due == due


def test_a_refused_pod_stays_failed_on_a_device_that_shuts_down() -> None:
    device = Device(a_pod({"name": "a"}), admitted=False)
    before = look(device).status
    assert before is not None and before["phase"] == "Failed"
    device.shutdown = Shutdown()
    assert look(device).status == before


def test_a_pod_is_forgotten_when_nothing_is_under_way_for_it_any_more() -> None:
    device = Device(a_pod({"name": "a"}))
    go_on(device, 3)
    device.wanted = Wanted.GONE
    look(device)
    (stop,) = under_way(device, StopContainer)
    device.finish(stop)
    look(device)
    (unplug,) = under_way(device, StopSandbox)
    device.loses_everything()
    look(device)
    device.finish(RemoveVolumes())
    assert not look(device).actions
    device.finish(unplug)
    assert look(device).actions == (Forget(),)
    assert device.forgotten


def test_a_container_that_is_stopped_is_not_resized_any_more() -> None:
    device = Device(a_pod({"name": "a"}))
    go_on(device, 3)
    edit(device, resources={"limits": {"cpu": "2"}})
    look(device)
    (resize,) = under_way(device, ResizeContainer)
    device.loses_sight(device.running()[0].id)
    plan = look(device)
    assert resize in plan.abandon
    assert under_way(device, StopContainer) and not under_way(device, ResizeContainer)


def test_what_was_stopped_because_nobody_knew_what_it_does_has_not_finished() -> None:
    device = Device(a_pod({"name": "a"}, restartPolicy="OnFailure"))
    go_on(device, 3)
    device.loses_sight(device.running()[0].id)
    look(device)
    (stop,) = under_way(device, StopContainer)
    device.finish(stop, exit_code=0)
    device.clock.advance(10)
    go_on(device, 3)
    assert device.running()


ONCE = [{"name": "init", "image": "app:1", "restartPolicy": "Never"}]


def the_init_container_ends(device: Device, code: int) -> None:
    go_on(device, 3)
    (init,) = device.running()
    assert init.name == "init"
    device.ends(init.id, code)


def test_an_init_container_that_fails_in_the_next_sandbox_fails_its_pod() -> None:
    """Though a container has run in the sandbox before."""
    device = Device(a_pod({"name": "a"}, initContainers=ONCE))
    the_init_container_ends(device, 0)
    go_on(device, 3)
    assert [one.name for one in device.running()] == ["a"]
    device.power_cut()
    the_init_container_ends(device, 1)
    final = look(device).facts.final
    assert final is not None and final["phase"] == "Failed"


def test_an_init_container_that_fails_when_all_have_begun_anew_fails_its_pod() -> None:
    rule = {"action": ALL_ANEW, "exitCodes": {"operator": "In", "values": [42]}}
    source = {"name": "a", "restartPolicy": "Never", "restartPolicyRules": [rule]}
    device = Device(a_pod(source, {"name": "b"}, initContainers=ONCE, restartPolicy="Never"))
    the_init_container_ends(device, 0)
    go_on(device, 4)
    device.ends(next(one.id for one in device.running() if one.name == "a"), 42)
    the_init_container_ends(device, 1)
    final = look(device).facts.final
    assert final is not None and final["phase"] == "Failed"


def whose_sandbox_dies(policy: str) -> Device:
    """A pod whose container ends well when it is stopped because its sandbox died."""
    device = Device(a_pod({"name": "a"}, restartPolicy=policy))
    go_on(device, 3)
    device.pause_dies()
    look(device)
    (stop,) = under_way(device, StopContainer)
    device.finish(stop, exit_code=0)
    look(device)
    return device


def test_what_was_stopped_because_its_sandbox_died_has_not_finished() -> None:
    device = whose_sandbox_dies("OnFailure")
    go_on(device, 3)
    assert [(one.sandbox_id, one.attempt) for one in device.running()] == [("s3", 1)]


def test_what_never_restarts_has_finished_when_its_sandbox_died() -> None:
    final = whose_sandbox_dies("Never").live.facts.final
    assert final is not None and final["phase"] == "Succeeded"
