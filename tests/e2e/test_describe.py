"""``kubectl describe pod`` of an edge pod reads as on any node, with either API server.

Only newer kubectl print the field path of an Event and the name of a port: the paths are looked at
in the Events themselves. Nothing here schedules, so there is no ``Scheduled`` Event; its condition
is put there by hand.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from cloudhub.kube.port import EVENTS, PODS
from shared.objects import Json
from tests.parts import images
from tests.parts.kubectl import Kubectl
from tests.parts.kubernetes import Cluster
from tests.parts.system import System, pod

EVENT = re.compile(r"  (Normal|Warning) +(\S+) +(.+?)  +(\S+)  +(?:spec\.\w+\{[\w-]+\}: )?(.*)")
WITHIN = 60.0
WHOLE = "described-whole"
"""A name that no other test gives a pod: its Events stay on the server that tests share."""


@pytest.fixture
def kubectl(kubernetes: Cluster, tmp_path: Path) -> Kubectl:
    return Kubectl(kubernetes.kubeconfig_path, tmp_path)


def a_pod(system: System, name: str, *, script: str = "", **container: object) -> Json:
    """Without a word about DNS, so that its Events are those of its container."""
    command = (
        ("sh", "-c", script) if script else ("sh", "-c", "trap 'exit 0' TERM; sleep 999 & wait")
    )
    made = pod(name, node=system.node, command=command, dnsPolicy="Default")
    made["spec"]["containers"][0].update(container)
    return made


def a_whole_pod(system: System) -> Json:
    """Something of every section."""
    made = a_pod(
        system,
        WHOLE,
        ports=[{"containerPort": 80, "name": "web"}],
        env=[
            {"name": "LEVEL", "value": "debug"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        resources={
            "requests": {"cpu": "10m", "memory": "16Mi"},
            "limits": {"memory": "32Mi"},
        },
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
    )
    made["spec"]["initContainers"] = [
        {"name": "first", "image": images.BUSYBOX, "command": ["true"]}
    ]
    made["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    made["spec"]["nodeSelector"] = {"kubernetes.io/os": "linux"}
    return made


async def described(kubectl: Kubectl, name: str, *until: str) -> str:
    """What is printed, as soon as it has all of these expressions."""
    text = ""
    deadline = asyncio.get_running_loop().time() + WITHIN
    while asyncio.get_running_loop().time() < deadline:
        text = await asyncio.to_thread(kubectl, "describe", "pod", name)
        if all(re.search(one, text, re.MULTILINE) for one in until):
            return text
        await asyncio.sleep(0.3)
    raise AssertionError(f"not in it: {[one for one in until if not re.search(one, text)]}\n{text}")


def section(text: str, title: str, *, indent: int = 0) -> str:
    """One part of it: the lines below its title that are further in."""
    space = " " * indent
    found = re.search(rf"^{space}{title}:(.*(?:\n(?:{space} .*)?)*)", text, re.MULTILINE)
    assert found, f"no {title}\n{text}"
    return found[1]


def fields(text: str) -> dict[str, str]:
    """``Name:   value`` of each line; the first of a name counts."""
    rows = re.findall(r"^ *([A-Z][\w -]+): *(.*?) *$", text, re.MULTILINE)
    return dict(reversed(rows))


def events(text: str) -> list[tuple[str, str, str]]:
    """Type, reason and message, as they stand there."""
    found = [EVENT.fullmatch(line) for line in section(text, "Events").splitlines()]
    rows = [one for one in found if one]
    assert {one[4] for one in rows} == {"kubetide-agent"}
    assert not [one[3] for one in rows if "<" in one[3]], "an age that cannot be"
    return [(one[1], one[2], one[5]) for one in rows]


async def paths(system: System, name: str) -> list[str]:
    """The field path of each Event of a pod, in the order of their names in the API server."""
    found = await system.kube.list(EVENTS, namespace="default")
    about = [one["involvedObject"] for one in found]
    return [one["fieldPath"] for one in about if one["name"] == name]


def reasons(text: str) -> list[str]:
    return [reason for _, reason, _ in events(text)]


def conditions(text: str) -> dict[str, str]:
    return dict(line.split() for line in section(text, "Conditions").splitlines()[2:])


async def test_a_running_pod(system: System, kubectl: Kubectl) -> None:
    await system.create(PODS, a_whole_pod(system))
    scheduled = {"conditions": [{"type": "PodScheduled", "status": "True"}]}
    await system.kube.patch(
        *(PODS, "default", WHOLE, {"status": scheduled}),
        subresource="status",
        patch_type="strategic",
    )
    text = await described(kubectl, WHOLE, "Ready +True", r"Normal +Started(.|\n)*Normal +Started")
    top = fields(text)
    node = await system.kube.get(PODS, "default", WHOLE)
    assert node is not None
    assert top["Node"] == f"{system.node}/{node['status']['hostIP']}"
    assert (top["Status"], top["IP"]) == ("Running", node["status"]["podIP"])
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} .*", top["Start Time"])
    first = fields(section(section(text, "Init Containers"), "first", indent=2))
    assert (first["State"], first["Reason"], first["Exit Code"]) == ("Terminated", "Completed", "0")
    assert first["Started"] and first["Finished"] and first["Ready"] == "True"
    main = section(section(text, "Containers"), "main", indent=2)
    shown = fields(main)
    assert shown["Container ID"].startswith("containerd://")
    assert shown["Image ID"].startswith("sha256:")
    assert (shown["State"], shown["Ready"], shown["Restart Count"]) == ("Running", "True", "0")
    assert shown["Port"] in ("80/TCP (web)", "80/TCP")
    assert "Last State" not in shown
    assert re.search(r"Limits:\n +memory: +32Mi\n +Requests:\n +cpu: +10m\n +memory: +16Mi", main)
    assert re.search(r"LEVEL: +debug\n +NODE: +\(v1:spec.nodeName\)", main)
    assert re.search(r"Mounts:\n +/data from data \(rw\)", main)
    (status,) = node["status"]["containerStatuses"]
    assert status["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
    assert status["allocatedResources"] == {"cpu": "10m", "memory": "16Mi"}
    assert list(conditions(text).items()) == [
        ("PodReadyToStartContainers", "True"),
        ("Initialized", "True"),
        ("Ready", "True"),
        ("ContainersReady", "True"),
        ("PodScheduled", "True"),
    ]
    assert "EmptyDir" in section(text, "Volumes")
    assert (top["QoS Class"], top["Node-Selectors"]) == ("Burstable", "kubernetes.io/os=linux")
    assert "node.kubernetes.io/not-ready:NoExecute op=Exists for 300s" in section(
        text, "Tolerations"
    )
    here = (
        f'Container image "{images.BUSYBOX}" already present on machine'
        " and can be accessed by the pod"
    )
    assert events(text) == [
        ("Normal", "Pulled", here),
        ("Normal", "Created", "Container created"),
        ("Normal", "Started", "Container started"),
        ("Normal", "Pulled", here),
        ("Normal", "Created", "Container created"),
        ("Normal", "Started", "Container started"),
    ]
    assert await paths(system, WHOLE) == [
        *3 * ["spec.initContainers{first}"],
        *3 * ["spec.containers{main}"],
    ]
    await _events_say_where_they_come_from(system, kubectl)


async def _events_say_where_they_come_from(system: System, kubectl: Kubectl) -> None:
    found = await system.kube.list(EVENTS, namespace="default")
    of_pod = [one for one in found if one["involvedObject"]["name"] == WHOLE]
    for one in of_pod:
        assert one["source"] == {"component": "kubetide-agent", "host": system.node}
        assert one["reportingComponent"] == "kubetide-agent"
        assert one["reportingInstance"] == system.node
    for command in (
        ("get", "events", f"--field-selector=involvedObject.name={WHOLE}"),
        ("events", f"--for=pod/{WHOLE}"),
    ):
        listed = kubectl.lines(*command)
        assert [line[2] for line in listed[1:]] == 2 * ["Pulled", "Created", "Started"]


async def test_pods_that_ended(system: System, kubectl: Kubectl) -> None:
    done, failed = (
        a_pod(system, name, script=f"sleep 0.2; exit {code}")
        for name, code in (("done", 0), ("failed", 2))
    )
    refused = a_pod(system, "refused", resources={"requests": {"cpu": "640"}})
    for made in (done, failed, refused):
        made["spec"]["restartPolicy"] = "Never"
        await system.create(PODS, made)
    for name, phase, reason, code, column in (
        ("done", "Succeeded", "Completed", "0", "Completed"),
        ("failed", "Failed", "Error", "2", "Error"),
    ):
        text = await described(kubectl, name, f"^Status: +{phase}", "Container started")
        main = section(section(text, "Containers"), "main", indent=2)
        ended = fields(main)
        assert (ended["State"], ended["Reason"]) == ("Terminated", reason)
        assert (ended["Exit Code"], ended["Ready"]) == (code, "False")
        assert conditions(text)["Ready"] == "False"
        assert reasons(text) == ["Pulled", "Created", "Started"]
        assert kubectl.lines("get", "pod", name)[1][1:3] == ["0/1", column]
    text = await described(kubectl, "refused", "^Status: +Failed", "Warning +OutOfcpu")
    top = fields(text)
    words = "Pod was rejected: Node didn't have enough resource: cpu, requested: 640000"
    assert top["Reason"] == "OutOfcpu"
    assert top["Message"].startswith(words)
    assert [(kind, reason) for kind, reason, _ in events(text)] == [("Warning", "OutOfcpu")]
    assert kubectl.lines("get", "pod", "refused")[1][1:3] == ["0/1", "OutOfcpu"]


async def test_pods_in_trouble(system: System, kubectl: Kubectl) -> None:
    often = {"periodSeconds": 1, "failureThreshold": 2}
    ill = a_pod(
        system,
        "ill",
        livenessProbe={"exec": {"command": ["cat", "/absent"]}, **often},
        readinessProbe={"tcpSocket": {"port": 9}, **often},
    )
    words = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    crashing = a_pod(system, "crashing", script="sleep 0.2; echo out of luck; exit 3", **words)
    for made in (ill, crashing, a_pod(system, "pulling", image="127.0.0.1:1/no:1")):
        await system.create(PODS, made)
    await _crash_loop(kubectl)
    await _failed_pull(kubectl)
    await _failing_probes(kubectl)
    for name in ("crashing", "pulling", "ill"):
        assert set(await paths(system, name)) == {"spec.containers{main}"}


async def _crash_loop(kubectl: Kubectl) -> None:
    text = await described(
        kubectl, "crashing", "CrashLoopBackOff", r"\(x\d+ over.*Container started(.|\n)*BackOff "
    )
    assert fields(text)["Status"] == "Running"
    main = section(section(text, "Containers"), "main", indent=2)
    state = section(main, "State", indent=4)
    assert (state.split()[0], fields(state)["Reason"]) == ("Waiting", "CrashLoopBackOff")
    last = section(main, "Last State", indent=4)
    ended = fields(last)
    assert last.split()[0] == "Terminated"
    assert (ended["Reason"], ended["Exit Code"], ended["Message"]) == ("Error", "3", "out of luck")
    shown = fields(main)
    assert shown["Ready"] == "False"
    assert int(shown["Restart Count"]) >= 1
    assert list(conditions(text).items()) == [
        ("PodReadyToStartContainers", "True"),
        ("Initialized", "True"),
        ("Ready", "False"),
        ("ContainersReady", "False"),
    ]
    assert reasons(text) == ["Pulled", "Created", "Started", "BackOff"]
    kind, _, message = events(text)[-1]
    assert kind == "Warning"
    assert message.startswith("Back-off restarting failed container main in pod crashing_default(")


async def _failed_pull(kubectl: Kubectl) -> None:
    """Its Events are written one by one, so a second round is waited for as a whole."""
    whole = r"Pulling image(.|\n)*Error: ErrImagePull(.|\n)*Back-off(.|\n)*Error: ImagePullBackOff"
    text = await described(kubectl, "pulling", "Reason: +ImagePullBackOff", whole)
    assert fields(text)["Status"] == "Pending"
    main = fields(section(section(text, "Containers"), "main", indent=2))
    assert (main["State"], main["Reason"]) == ("Waiting", "ImagePullBackOff")
    assert (main["Ready"], main["Restart Count"], main["Image ID"]) == ("False", "0", "")
    image = "127.0.0.1:1/no:1"
    said = events(text)
    assert said[0] == ("Normal", "Pulling", f'Pulling image "{image}"')
    assert said[1][:2] == ("Warning", "Failed")
    assert said[1][2].startswith(f'Failed to pull image "{image}": ')
    assert "connection refused" in said[1][2]
    assert said[2:] == [
        ("Warning", "Failed", "Error: ErrImagePull"),
        ("Normal", "BackOff", f'Back-off pulling image "{image}"'),
        ("Warning", "Failed", "Error: ImagePullBackOff"),
    ]


async def _failing_probes(kubectl: Kubectl) -> None:
    text = await described(
        kubectl, "ill", "Restart Count: +[1-9]", "Killing", r"\(x\d+ over.*Container started"
    )
    main = section(section(text, "Containers"), "main", indent=2)
    shown = fields(main)
    assert shown["Liveness"] == (
        "exec [cat /absent] delay=0s timeout=1s period=1s #success=1 #failure=2"
    )
    assert shown["Readiness"].startswith("tcp-socket :9 delay=0s")
    assert shown["Ready"] == "False"
    assert section(main, "Last State", indent=4).split()[0] == "Terminated"
    assert conditions(text)["ContainersReady"] == "False"
    said = {(reason, message.partition(":")[0]) for _, reason, message in events(text)}
    assert ("Unhealthy", "Liveness probe failed") in said
    assert ("Unhealthy", "Readiness probe failed") in said
    killing = "Container main failed liveness probe, will be restarted"
    assert ("Normal", "Killing", killing) in events(text)
