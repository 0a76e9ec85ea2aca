"""Planning for a pod that should run: volumes, sandbox, init containers in order, containers.

Owns the order of starting and the legitimate causes to stop one container of a running pod: its
probe failed, its spec changed, or its sandbox is gone. Called by ``planner.py`` only.
"""

from __future__ import annotations

from edgeagent.pods.materials.origins import HASH
from edgeagent.pods.model import causes, specs
from edgeagent.pods.model.actions import (
    EnsureImage,
    PrepareVolumes,
    RefreshVolumes,
    RemoveContainer,
    RemoveSandbox,
    RemoveVolumes,
    ResizeContainer,
    ResizePod,
    StartContainer,
    StartSandbox,
    StopSandbox,
)
from edgeagent.pods.model.causes import Cause
from edgeagent.pods.model.facts import ContainerFacts
from edgeagent.pods.model.view import PodView, is_running
from edgeagent.pods.planning.draft import Draft
from edgeagent.pods.resources import amounts
from edgeagent.pods.rules import resizing, restarting
from edgeagent.runtime.port import Container, ContainerState, Sandbox, SandboxState
from shared.objects import Json

_MOST_PLUGGED_IN = 3
"""Dead sandboxes of one pod that may keep their addresses while it starts."""
_MOST_TRIES = 3
"""To unplug a dead sandbox, before the pod starts without waiting for it any longer."""


def start(draft: Draft) -> None:
    deadline = specs.deadline_of(draft.view.pod)
    if deadline is not None:
        draft.at(draft.view.live.since + deadline)
    if _leave_old_sandboxes(draft):
        return
    _tend_running(draft)
    _prepare(draft)
    for container in specs.ephemerals(draft.view.pod):
        _tend(draft, container)
    if _initialize(draft):
        _run_mains(draft)
    _collect_dead(draft)


def _prepare(draft: Draft) -> None:
    """Volumes first: a pod that lacks one has no sandbox, no address, and pulls nothing."""
    view = draft.view
    if RemoveVolumes() in view.live.under_way:
        return  # Of a pod that was gone and is wanted again: first the one, then the other.
    if not view.has_volumes:
        draft.act(PrepareVolumes())
        return
    if view.sandbox is None:
        failed = view.live.troubles.get("sandbox")
        # A failed attempt may have left its name behind in the runtime. One that took too long
        # may have been made since, and CRI-O hands it out to who asks for the same name.
        skipped = failed.refusals if failed else 0
        draft.act(StartSandbox(view.facts.sandbox_attempt + 1 + skipped))
    if view.live.volumes_stale:
        draft.act(RefreshVolumes())


def _leave_old_sandboxes(draft: Draft) -> bool:
    """Empty and unplug every sandbox but the current one; True while something lives in one."""
    current = draft.view.sandbox
    lives = False
    waits = _unplugging_can_wait(draft.view)
    for sandbox in draft.view.sandboxes:
        if current is not None and sandbox.id == current.id:
            continue
        starts = _something_starts_in(draft, sandbox)
        if _something_runs_in(draft, sandbox) or starts:
            lives = True
        elif sandbox.id not in draft.view.live.cleaned and not waits:
            draft.act(StopSandbox(sandbox.id))
            waits_for_ports = current is None and specs.has_host_ports(draft.view.pod)
            lives = lives or (waits_for_ports and not _cannot_be_unplugged(draft.view, sandbox))
    return lives


def _cannot_be_unplugged(view: PodView, sandbox: Sandbox) -> bool:
    """Host ports must be free before the next sandbox asks for them; but a runtime that lost what
    it knew of a network, as in a power cut, may never give them back, and nothing has them then.
    """
    trouble = view.live.troubles.get(StopSandbox(sandbox.id).slot)
    dead = sandbox.state is SandboxState.NOT_READY
    return dead and trouble is not None and trouble.failures >= _MOST_TRIES


def _something_starts_in(draft: Draft, sandbox: Sandbox) -> bool:
    """A create or a start takes no time and is waited for; a postStart hook is given up."""
    starts = [
        action
        for action in draft.view.live.under_way
        if isinstance(action, StartContainer) and action.sandbox_id == sandbox.id
    ]
    hooks = [action for action in starts if draft.view.is_in_hook(action)]
    draft.abandon += hooks
    return len(starts) > len(hooks)


def _something_runs_in(draft: Draft, sandbox: Sandbox) -> bool:
    """What runs in a sandbox that is left is stopped."""
    running = [one for one in sandbox.containers if is_running(one)]
    for one in running:
        _stop(draft, one, Cause.SANDBOX)
    return bool(running)


def _unplugging_can_wait(view: PodView) -> bool:
    """Dead sandboxes hold an address and no more; the start of the pod goes before giving it back.

    After a power cut every pod has them, and unplugging costs as much processor as plugging in.
    """
    dead = [one for one in view.sandboxes if one.state is SandboxState.NOT_READY]
    return (
        len(dead) <= _MOST_PLUGGED_IN
        and len(view.sandboxes) - len(dead) <= 1
        and not specs.has_host_ports(view.pod)
        and not _main_began_here(view)
    )


def _tend_running(draft: Draft) -> None:
    """Stop what is unhealthy or not what the spec says any more; resize what may be resized."""
    for spec in specs.every_container(draft.view.pod):
        known = draft.view.runs(spec["name"])
        observed = draft.view.newest(spec["name"])
        if known is None or observed is None or observed.id != known.id:
            continue
        if draft.busy(f"start/{spec['name']}"):
            continue
        cause = _cause_to_stop(draft.view, observed, spec=spec, known=known)
        if cause:
            _stop(draft, observed, cause)
        elif resizing.is_resized(draft.view.pod, spec, known):
            draft.act(ResizeContainer(spec["name"], observed.id))
    if resizing.only_the_pod_is_left(draft.view):
        draft.act(ResizePod())


def _cause_to_stop(
    view: PodView, observed: Container, *, spec: Json, known: ContainerFacts
) -> Cause:
    if observed.state is ContainerState.UNKNOWN:
        return Cause.UNKNOWN
    if known.killed in causes.ANEW:
        return known.killed
    resized = resizing.is_resized(view.pod, spec, known) and _resize_restarts(view.pod, spec, known)
    if specs.runs_once(view.pod, spec):
        return Cause.RESIZE if resized else known.killed
    ran_as = observed.annotations.get(HASH)
    if ran_as and ran_as != specs.identity(spec):
        return Cause.SPEC
    if resized:
        return Cause.RESIZE
    return view.live.unhealthy.get(observed.id) or known.killed


def _resize_restarts(pod: Json, spec: Json, known: ContainerFacts) -> bool:
    """Whether a resource that changed has the resize policy RestartContainer."""
    new = amounts.given(pod, spec)
    policies = {
        one.get("resourceName"): one.get("restartPolicy") for one in spec.get("resizePolicy") or ()
    }
    return any(
        (new.get(kind) or {}).get(name) != (known.resources.get(kind) or {}).get(name)
        for kind in ("requests", "limits")
        for name, policy in policies.items()
        if policy == "RestartContainer"
    )


def _stop(draft: Draft, one: Container, cause: Cause) -> None:
    pod = draft.view.pod
    grace = float(specs.grace_of(pod))
    spec = specs.container_named(pod, one.name) or {}
    if cause in causes.BY_PROBE:
        grace = _probe_grace(spec.get(f"{cause}Probe") or {}, grace)
    draft.stop(one, since=draft.now.monotonic, grace=grace, cause=cause)


def _probe_grace(probe: Json, otherwise: float) -> float:
    own = probe.get("terminationGracePeriodSeconds")
    return otherwise if own is None else float(own)


def _initialize(draft: Draft) -> bool:
    """Start what is next of the init containers; True when all of them let the others start.

    Sidecars are kept running from their turn on, for as long as the pod runs. One that fails when
    a later container has begun already holds up nothing any more.
    """
    view = draft.view
    inits = specs.inits(view.pod)
    began = [at for at, one in enumerate(inits) if _began_here(view, one)]
    passed = len(inits) if _main_began_here(view) else max(began, default=0)
    for at, container in enumerate(inits):
        if specs.is_sidecar(container):
            running = _tend(draft, container)
            if at >= passed and not (running and running.started):
                return False
        elif at >= passed and not _succeeded_here(view, container):
            _tend(draft, container)
            return False
    return True


def _began_here(view: PodView, container: Json) -> bool:
    """In the current sandbox, and not before all containers were to begin anew."""
    known, sandbox = view.facts.container(container["name"]), view.sandbox
    return sandbox is not None and restarting.began_in(known, sandbox.id)


def _main_began_here(view: PodView) -> bool:
    sandbox = view.sandbox
    return sandbox is not None and restarting.main_began_in(view, sandbox.id)


def _succeeded_here(view: PodView, init: Json) -> bool:
    known = view.facts.container(init["name"])
    if known is None or known.ended is None or known.ended.failed_to_initialize:
        return False
    return _began_here(view, init)


def _run_mains(draft: Draft) -> None:
    """In their order, one start at a time: a postStart hook holds up the containers after it."""
    for container in specs.mains(draft.view.pod):
        name = container["name"]
        _tend(draft, container)
        if draft.busy(f"start/{name}") or draft.busy(f"image/{name}"):
            return


def _tend(draft: Draft, container: Json) -> ContainerFacts | None:
    """Start the container when it is its time; the facts of the one that runs, if one does."""
    view = draft.view
    running = view.runs(container["name"])
    if running is not None:
        return running if not draft.busy(f"start/{container['name']}") else None
    known = view.facts.container(container["name"])
    if known is None:
        _begin(draft, container, attempt=0)
    elif _starts_again(view, container, known):
        due = restarting.due_at(view, container, known, draft.now.monotonic)
        if due > draft.now.monotonic:
            draft.at(due)
        else:
            _begin(draft, container, attempt=known.attempt + 1)
    return None


def _starts_again(view: PodView, container: Json, known: ContainerFacts) -> bool:
    if known.ended is None:
        return False
    sandbox = view.sandbox
    elsewhere = sandbox is None or known.sandbox != sandbox.id
    regular_init = any(container is one for one in specs.inits(view.pod))
    return (regular_init and elsewhere) or restarting.restarts(view.pod, container, known)


def _begin(draft: Draft, container: Json, *, attempt: int) -> None:
    """What a start needs, and then the start itself. The image is looked for and pulled while the
    sandbox is made, and no earlier."""
    view, name = draft.view, container["name"]
    leftovers = [
        one for one in view.containers() if one.name == name and one.state is ContainerState.CREATED
    ]
    if draft.busy(f"start/{name}"):
        return
    for one in leftovers:
        draft.act(RemoveContainer(one.id))
    if not view.has_volumes or (view.sandbox is None and not draft.busy("sandbox")):
        return
    at_hand = _has_image(draft, container)
    if view.sandbox is not None and at_hand and not leftovers:
        draft.act(StartContainer(name, attempt, view.sandbox.id))


def _has_image(draft: Draft, container: Json) -> bool:
    """Whether the image that the spec names now is at hand; asks for it when it is not."""
    wanted = EnsureImage(container["name"], container.get("image") or "")
    if draft.view.live.images.get(wanted.name) == wanted.image:
        return True
    for action in draft.view.live.under_way:
        if action.slot == wanted.slot and action != wanted:
            draft.abandon.append(action)
    draft.act(wanted)
    return False


def _collect_dead(draft: Draft) -> None:
    """Keep the newest container of each name and the one before it, for its logs."""
    view = draft.view
    for name in sorted({one.name for one in view.containers()}):
        dead = [
            one
            for one in view.containers()
            if one.name == name and one.state is ContainerState.EXITED
        ]
        dead.sort(key=lambda one: one.attempt, reverse=True)
        for one in dead[2 if view.runs(name) is None else 1 :]:
            draft.act(RemoveContainer(one.id))
    for sandbox in view.sandboxes:
        unplugged = sandbox.state is SandboxState.NOT_READY and sandbox.id in view.live.cleaned
        if unplugged and not sandbox.containers:
            draft.act(RemoveSandbox(sandbox.id))
