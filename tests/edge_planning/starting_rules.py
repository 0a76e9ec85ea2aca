"""The judge, part two: when something may start, and in which order. See ``rules.py``."""

from edgeagent.pods.model.actions import (
    EnsureImage,
    RemoveVolumes,
    ResizeContainer,
    ResizePod,
    StartContainer,
    StartSandbox,
)
from edgeagent.pods.model.view import is_running
from edgeagent.runtime.port import SandboxState
from tests.edge_planning import ledger as truth
from tests.edge_planning.passes import Pass, rule


@rule
def a_pod_that_stops_starts_nothing(one: Pass) -> None:
    if one.all_stop or one.plan.facts.final is not None:
        for action in one.begun:
            assert not isinstance(
                action, (StartContainer, StartSandbox, EnsureImage, ResizeContainer, ResizePod)
            )


@rule
def one_sandbox_at_a_time(one: Pass) -> None:
    for action in one.begun:
        if isinstance(action, StartSandbox):
            for box in one.view.sandboxes:
                going = [a.slot for a in one.doing] + [
                    f"sandbox/{x}" for x in one.view.live.cleaned
                ]
                assert box.state is not SandboxState.READY or f"sandbox/{box.id}" in going
            assert action.attempt not in {box.attempt for box in one.view.sandboxes}
            assert not one.view.running()


@rule
def volumes_come_before_the_sandbox_and_the_images(one: Pass) -> None:
    """A sandbox may be in the making while its images are pulled."""
    made = one.view.live.volumes_ready and RemoveVolumes() not in one.view.live.under_way
    for action in one.begun:
        if isinstance(action, StartSandbox):
            assert made
        if isinstance(action, EnsureImage):
            begins = any(isinstance(other, StartSandbox) for other in one.doing)
            assert made and (begins or one.view.sandbox is not None)


@rule
def a_container_starts_once_with_all_that_it_needs(one: Pass) -> None:
    for action in one.starts():
        spec = truth.container_spec(one.view.pod, action.name)
        same = [box for box in one.view.containers() if box.name == action.name]
        assert not [box for box in same if is_running(box)], f"{action} while {same} runs"
        assert action.attempt not in {box.attempt for box in same}, "the name is taken"
        assert one.view.live.volumes_ready
        assert one.view.sandbox is not None and one.view.sandbox.id == action.sandbox_id
        assert spec is not None


@rule
def containers_start_in_their_order(one: Pass) -> None:
    """Each init container after those before it, the others after all of them; anew when all
    containers begin anew."""
    if one.ledger.all_may_begin_anew:
        return
    inits = truth.names(one.view.pod, "initContainers")
    lives = [life for life in one.ledger.lives.values() if not life.past]
    for action in one.starts():
        began = [
            inits.index(a.name) for a in lives if a.name in inits and a.sandbox == action.sandbox_id
        ]
        if action.name in truth.names(one.view.pod, "ephemeralContainers"):
            continue
        if _main_began_in(one, action.sandbox_id):
            assert action.name not in inits or truth.is_sidecar(one.view.pod, action.name)
            continue
        before = inits[: inits.index(action.name)] if action.name in inits else inits
        for name in before[max(began, default=0) :]:
            assert _is_through(one, name, action.sandbox_id), f"{action} before {name} is through"


@rule
def while_all_are_stopped_to_begin_anew_none_starts(one: Pass) -> None:
    if one.ledger.all_begin_anew:
        assert not [a for a in one.starts() if a.name in truth.members(one.view.pod)]


@rule
def what_has_ended_for_good_does_not_start_again(one: Pass) -> None:
    for action in one.starts():
        life = one.ledger.newest(action.name)
        if life is None or life.ended is None:
            continue
        regular_init = action.name in truth.names(
            one.view.pod, "initContainers"
        ) and not truth.is_sidecar(one.view.pod, action.name)
        if regular_init and life.sandbox != action.sandbox_id:
            continue
        assert True in one.ledger.again(one.view.pod, life), f"{action} after {life}"


@rule
def a_crash_waits_out_its_back_off(one: Pass) -> None:
    if not one.trusted:
        return
    for action in one.starts():
        life = one.ledger.newest(action.name)
        if life is None or life.ended is None or life.doubtful:
            continue
        if life.sandbox == action.sandbox_id and life.attempt == action.attempt - 1:
            waited = one.now.monotonic - life.ended
            assert waited >= one.ledger.back_off(life) - 1e-6, f"{action} after {waited} s: {life}"


def _main_began_in(one: Pass, sandbox_id: str) -> bool:
    mains = truth.names(one.view.pod, "containers")
    lives = one.ledger.lives.values()
    return any(
        life.name in mains and life.sandbox == sandbox_id and not life.past for life in lives
    )


def _is_through(one: Pass, name: str, sandbox_id: str) -> bool:
    life = one.ledger.newest(name)
    if life is None or life.past or life.sandbox != sandbox_id:
        return False
    if truth.is_sidecar(one.view.pod, name):
        return life.ended is None and life.started
    return life.ended is not None and life.code == 0
