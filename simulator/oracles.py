"""What must hold once the faults have stopped: API server, desired sets and devices agree.

Each oracle yields sentences about what is wrong; the scenario waits for all of them to be silent.
They compare the ends of the system only, never what lies between: the API's objects, what is in
each device's database, and what the container runtime really runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from cloudhub.fleet.pods import is_mirror
from cloudhub.kube.port import CONFIG_MAPS, NODES, PODS, SECRETS, SERVICES
from edgeagent.desired import Desired
from shared import codec
from shared.objects import NO_NAMESPACE, Json, ObjectKey
from shared.static_pods import MIRROR
from shared.topics import Topics
from simulator.device import EdgeDevice
from simulator.runtime import Run
from simulator.users import MAINTENANCE, PLACE

if TYPE_CHECKING:
    from simulator.world import World


FINISHED = ("Succeeded", "Failed")
"""How a pod has finished is not taken back; who lost its memory may have begun it once more."""
REFUSED = {"TaintToleration": "a taint", "NodeAffinity": "a label"}
"""By the reason of a pod that was not taken up: what was in its way."""
TERMINATED = "Terminated"
"""The reason of a pod that a shutdown of its device has failed."""


async def differences(world: World) -> list[str]:
    """Everything that is not as it should be in the end."""
    every = await world.server.list(PODS)
    pods = [pod for pod in every if not is_mirror(pod)]
    mirrors = {ObjectKey.of("Pod", pod): pod for pod in every if is_mirror(pod)}
    found = [f"never-gone: pod {_name(pod)}" for pod in pods if _deleting(pod)]
    for device in world.devices:
        found += await on_device(world, device)
        node = await world.server.get(NODES, "", device.name)
        for pod in _bound(pods, device):
            uid = pod["metadata"]["uid"]
            found += [f"status: {_name(pod)}: {what}" for what in _status(pod, uid, device)]
        found += [f"mirror: {device.name}: {what}" for what in _static(device, mirrors)]
        if device.logind.locks != 1:
            found.append(f"lock: {device.name}: the agent holds {device.logind.locks}")
        found += [f"node: {device.name}: {what}" for what in _node(node)]
    found += [f"mirror: of {key.name}, which no file gives" for key in _left(world, mirrors)]
    return found


async def on_device(world: World, device: EdgeDevice) -> list[str]:
    """What the device was told, and what runs there, as the API server has it."""
    pods = [pod for pod in await world.server.list(PODS) if not is_mirror(pod)]
    objects = {
        ObjectKey.of(resource.kind, obj): obj
        for resource in (CONFIG_MAPS, SECRETS, SERVICES)
        for obj in await world.server.list(resource)
    } | {ObjectKey.of("Pod", pod): pod for pod in pods}
    own = _bound(pods, device)
    told = _told(await world.server.get(NODES, "", device.name), own)
    wrong = _desired(await device.desired(), own, objects, told)
    found = [f"desired: {device.name}: {what}" for what in wrong]
    return found + [f"orphan: {device.name}: {what}" for what in _orphans(device, own)]


def _bound(pods: list[Json], device: EdgeDevice) -> list[Json]:
    return [pod for pod in pods if pod["spec"].get("nodeName") == device.name]


async def left_at_the_broker(world: World) -> list[str]:
    """(f) Reports that are retained are of pods that there are."""
    pods = {ObjectKey.of("Pod", pod): pod["spec"] for pod in await world.server.list(PODS)}
    found = []
    for device in world.devices:
        topics = Topics().of(device.name)
        told = (key for key, spec in pods.items() if spec.get("nodeName") == device.name)
        known = {topics.reported(key) for key in told}
        retained = {topic for topic, _ in world.broker.retained.items()}
        reports = f"{topics.base}/reported/Pod/"
        found += [one for one in sorted(retained - known) if one.startswith(reports)]
    return found


def _static(device: EdgeDevice, mirrors: Mapping[ObjectKey, Json]) -> Iterator[str]:
    """What files give runs, and the API shows it as it is."""
    for story in device.manifests.given() if device.manifests else ():
        mirror = mirrors.get(story.key)
        if mirror is None:
            yield f"{story.name} has none"
        elif mirror["metadata"]["annotations"][MIRROR] != story.uid:
            yield f"that of {story.name} shows an older one"
        elif _deleting(mirror):
            yield f"that of {story.name} is being deleted"
        else:
            yield from (f"{story.name}: {what}" for what in _status(mirror, story.uid, device))


def _left(world: World, mirrors: Mapping[ObjectKey, Json]) -> list[ObjectKey]:
    folders = [device.manifests for device in world.devices if device.manifests]
    given = {story.key for folder in folders for story in folder.given()}
    return sorted(mirrors.keys() - given)


def _desired(
    desired: Desired,
    own: list[Json],
    objects: dict[ObjectKey, Json],
    told: dict[ObjectKey, Json],
) -> Iterator[str]:
    """(a) The desired set on the device is the API server's for its node."""
    wanted = {ObjectKey.of("Pod", pod) for pod in own}
    wanted |= {key for pod in own for key in _referenced(pod) if key in objects}
    wanted |= {key for key in objects if key.kind == "Service"} | told.keys()
    entries = desired.inventory.entries
    yield from (f"lacks {key}" for key in sorted(wanted - entries.keys()))
    yield from (f"has {key} without reason" for key in sorted(entries.keys() - wanted))
    for key in sorted(wanted & desired.bodies.keys()):
        if key.kind == "Service":  # Trimmed to what its variables are made of.
            continue
        body = codec.unpack(desired.bodies[key].packed)
        if key in told:
            if body != told[key]:
                yield f"{key} is {body}, not {told[key]}"
            continue
        for part in ("spec", "data"):
            if body.get(part) != objects[key].get(part):
                yield f"{key} has another {part}"
        if body["metadata"]["uid"] != objects[key]["metadata"]["uid"]:
            yield f"{key} has another uid"
    yield from (f"no body of {key}" for key in sorted(wanted - desired.bodies.keys()))


def _told(node: Json | None, own: list[Json]) -> dict[ObjectKey, Json]:
    """The Node by its own key: its taints, and a label for which a pod is refused."""
    if node is None:
        return {}
    name, labels = node["metadata"]["name"], node["metadata"].get("labels") or {}
    place = labels.get(PLACE)
    body: Json = {"metadata": {"name": name}}
    if any(pod["spec"]["nodeSelector"][PLACE] != place for pod in own if _is_misplaced(pod)):
        body["metadata"]["labels"] = {PLACE: place}
    if MAINTENANCE in (node["spec"].get("taints") or ()):
        body["spec"] = {"taints": [MAINTENANCE]}
    told = "spec" in body or "labels" in body["metadata"]
    return {ObjectKey("Node", NO_NAMESPACE, name): body} if told else {}


def _is_misplaced(pod: Json) -> bool:
    return (pod.get("status") or {}).get("reason") == "NodeAffinity"


def _referenced(pod: Json) -> Iterator[ObjectKey]:
    namespace = pod["metadata"]["namespace"]
    for volume in pod["spec"].get("volumes", ()):
        if "configMap" in volume:
            yield ObjectKey("ConfigMap", namespace, volume["configMap"]["name"])
    for container in pod["spec"]["containers"]:
        for source in container.get("envFrom", ()):
            yield ObjectKey("Secret", namespace, source["secretRef"]["name"])


def _status(pod: Json, uid: str, device: EdgeDevice) -> Iterator[str]:
    """(b) Statuses tell the truth on the device, which has the pod under this uid; (e) final ones
    are not lost."""
    status = pod.get("status") or {}
    if status.get("reason") in REFUSED:
        yield from _refused(uid, device, status["reason"])
        return
    phases = set()
    policy = pod["spec"].get("restartPolicy", "Always")
    returned, forgetful = device.judge.returned(uid), device.judge.forgets(uid)
    if returned and not any(run.uid == uid for run in device.runtime.running()):
        policy = "Never"  # As on a kubelet, a deletion that has begun on the device is not undone.
    told = {one["name"]: one for one in status.get("containerStatuses") or ()}
    for container in pod["spec"]["containers"]:
        runs = device.judge.runs_of(uid, container["name"])
        if not runs:
            # Refused, and forgotten with the database: what it ends with once more has no reason.
            refused = any(device.judge.may_refuse(uid, for_label=one) for one in (True, False))
            forgotten = forgetful and refused and status.get("phase") == "Failed"
            if not forgotten and not _ended_before_all_began(pod, uid, device):
                yield f"{container['name']} was never started"
            return
        phases.add(_fate(runs[-1], policy))
        status_of = told.get(container["name"], {})
        yield from _container(status_of, runs, forgetful=forgetful)
        if status.get("reason") == TERMINATED and device.judge.shutdowns.ended_meanwhile(runs[-1]):
            phases.add("Failed")
    expected = next(phase for phase in ("Running", "Failed", "Succeeded") if phase in phases)
    # One that began once more, after its memory was lost, is stopped when that is told.
    over = expected != "Running" or _was_stopped(pod, uid, device)
    again = forgetful and over and status.get("phase") in FINISHED
    if status.get("phase") != expected and not again:
        yield f"phase {status.get('phase')}, is {expected}"


def _last_runs(pod: Json, uid: str, device: EdgeDevice) -> Iterator[Run]:
    for container in pod["spec"]["containers"]:
        yield from device.judge.runs_of(uid, container["name"])[-1:]


def _was_stopped(pod: Json, uid: str, device: EdgeDevice) -> bool:
    """Nothing of it runs, and the agent ended some of that."""
    last = list(_last_runs(pod, uid, device))
    return all(run.ended is not None for run in last) and any(run.by_agent for run in last)


def _ended_before_all_began(pod: Json, uid: str, device: EdgeDevice) -> bool:
    """By a shutdown of its device, for good, when only some of its containers had begun."""
    failed = (pod.get("status") or {}).get("reason") == TERMINATED
    last = list(_last_runs(pod, uid, device))
    return failed and any(device.judge.shutdowns.ended_meanwhile(run) for run in last)


def _refused(uid: str, device: EdgeDevice, reason: str) -> Iterator[str]:
    """What was taken up once is not judged again."""
    if not device.judge.may_refuse(uid, for_label=reason == "NodeAffinity"):
        yield f"was refused for {REFUSED[reason]} without reason"
    if any(run.uid == uid for run in device.runtime.running()):
        yield "runs, and was refused"


def _fate(run: Run, policy: str) -> str:
    if run.ended is None or policy == "Always" or (policy == "OnFailure" and run.exit_code):
        return "Running"
    return "Failed" if run.exit_code else "Succeeded"


def _container(told: Json, runs: list[Run], *, forgetful: bool) -> Iterator[str]:
    run, state = runs[-1], told.get("state") or {}
    if run.ended is None:
        if "running" not in state:
            yield f"{run.name} runs, told {state or 'nothing'}"
        elif not str(told.get("containerID", "")).endswith(run.container_id):
            yield f"{run.name} is {run.container_id}, told {told.get('containerID')}"
    elif "terminated" in state:
        code = state["terminated"].get("exitCode")
        if code != run.exit_code and not forgetful:
            yield f"{run.name} ended with {run.exit_code}, told {code}"
    else:
        yield f"{run.name} has ended, told {state or 'nothing'}"
    if not forgetful and told.get("restartCount") != len(runs) - 1:
        yield f"{run.name} was restarted {len(runs) - 1} times, told {told.get('restartCount')}"


def _orphans(device: EdgeDevice, own: list[Json]) -> Iterator[str]:
    """What runs although nobody wants it."""
    wanted = {pod["metadata"]["uid"] for pod in own}
    wanted |= {story.uid for story in (device.manifests.given() if device.manifests else ())}
    for run in device.runtime.runs.values():
        if run.ended is None and run.uid not in wanted:
            yield f"{run.container_id} of {run.uid[-4:]} still runs"


def _node(node: Json | None) -> Iterator[str]:
    """(h) A connected device is Ready."""
    if (ready := _ready(node)) != "True":
        yield f"Ready is {ready}"


async def is_ready(world: World, device: EdgeDevice) -> bool:
    return _ready(await world.server.get(NODES, "", device.name)) == "True"


def _ready(node: Json | None) -> str:
    conditions = ((node or {}).get("status") or {}).get("conditions") or ()
    return next((one["status"] for one in conditions if one["type"] == "Ready"), "missing")


def _name(pod: Json) -> str:
    return f"{pod['metadata']['name']} ({pod['metadata']['uid'][-4:]})"


def _deleting(pod: Json) -> bool:
    return "deletionTimestamp" in pod["metadata"]
