"""``kubetide up`` as a program, and a person with the real ``kubectl`` in front of it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from devcluster.images import BUSYBOX
from shared.objects import Json
from tests.parts.kubectl import Kubectl
from tests.parts.missing import need_root
from tests.parts.patience import PATIENCE
from tests.parts.system import pod

READY_WITHIN = 60 * PATIENCE
END_WITHIN = 30 * PATIENCE
WITHIN = f"--timeout={60 * PATIENCE:.0f}s"
"""What kubectl is to wait at most."""


@dataclass
class Up:
    process: subprocess.Popen[str]
    folder: Path
    """All its temporary files are below."""
    said: str
    kubectl: Kubectl


@contextmanager
def running_up() -> Iterator[Up]:
    need_root("kubetide up")
    folder = Path(tempfile.mkdtemp(prefix="ktu-"))
    process = subprocess.Popen(
        [sys.executable, "-m", "devcluster", "up"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
    )
    try:
        said = until_ready(process)
        found = re.search(r"export KUBECONFIG=(\S+)", said)
        assert found, said
        with tempfile.TemporaryDirectory() as cache:
            yield Up(process, folder, said, Kubectl(Path(found[1]), Path(cache)))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(END_WITHIN)
        assert process.stdout is not None
        process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


def until_ready(process: subprocess.Popen[str]) -> str:
    """What it prints, up to the line that says how to end it."""
    assert process.stdout is not None
    said, deadline = "", time.monotonic() + READY_WITHIN
    for line in process.stdout:
        said += line
        if "Ctrl-C" in line:
            return said
        assert time.monotonic() < deadline, said
    raise AssertionError(f"it ended: {said}")


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with running_up() as running:
        yield running


@pytest.fixture
def kubectl(up: Up) -> Kubectl:
    return up.kubectl


def manifest(name: str, **spec: object) -> Json:
    return pod(name, image=BUSYBOX, grace=2, **spec) | {
        "metadata": {"name": name, "labels": {"app": "before"}}
    }


def block(described: str, title: str) -> str:
    """One part of ``kubectl describe``: the lines below its title."""
    found = re.search(rf"^{title}:(.*(?:\n(?: .*)?)*)", described, re.MULTILINE)
    assert found, described
    return found[1]


def test_it_prints_the_two_lines_for_kubectl(up: Up) -> None:
    lines = [line.strip() for line in up.said.splitlines()]
    export = next(line for line in lines if line.startswith("export KUBECONFIG="))
    assert Path(export.partition("=")[2]).stat().st_mode & 0o077 == 0
    assert lines[lines.index(export) + 1] == "kubectl get nodes -o wide"


def test_the_node_in_the_table_is_an_edge_node(kubectl: Kubectl) -> None:
    head, row = kubectl("get", "nodes", "-o", "wide").splitlines()
    shown = dict(zip(re.split(r"  +", head), re.split(r"  +", row), strict=True))
    assert (shown["NAME"], shown["STATUS"], shown["ROLES"]) == ("edge-1", "Ready", "edge")
    assert re.fullmatch(r"v1\.\d+\.\d+-kubetide-\S+", shown["VERSION"])
    addresses = kubectl.get("node", "edge-1")["status"]["addresses"]
    assert shown["INTERNAL-IP"] == addresses[0]["address"]
    for column in ("OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"):
        assert shown[column] not in ("", "<unknown>", "<none>")


def test_the_node_is_described_as_one_that_can_run_pods(kubectl: Kubectl) -> None:
    described = kubectl("describe", "node", "edge-1")
    assert re.search(r"^Roles: +edge$", described, re.MULTILINE)
    assert re.search(r"HolderIdentity: +edge-1", block(described, "Lease"))
    conditions = block(described, "Conditions")
    assert re.search(r"Ready +True .* AgentConnected", conditions)
    for pressure in ("MemoryPressure", "DiskPressure", "PIDPressure"):
        assert re.search(rf"{pressure} +False ", conditions)
    assert re.search(r"InternalIP: +\S+\n(.*\n)* +Hostname: +\S+", block(described, "Addresses"))
    for amounts in (block(described, "Capacity"), block(described, "Allocatable")):
        found = dict(re.findall(r"(\S+): +(\d+)", amounts))
        assert all(int(found[name]) > 0 for name in ("cpu", "memory", "pods", "ephemeral-storage"))
    assert "<invalid>" not in described and "<unknown>" not in described


def test_a_pod_is_applied_awaited_shown_described_and_deleted(kubectl: Kubectl) -> None:
    unbound = manifest("web")
    del unbound["spec"]["nodeName"]
    assert kubectl.apply(unbound) == "pod/web created\n"
    kubectl("wait", "--for=condition=Ready", "pod/web", WITHIN)
    _, row = kubectl.lines("get", "pods", "web", "-o", "wide")
    assert row[:4] == ["web", "1/1", "Running", "0"]
    assert row[6] == "edge-1"
    described = _described(kubectl, "web", until="Container started")
    assert re.search(r"State: +Running\n +Started: +\w{3}, ", described)
    assert re.search(r"Container ID: +\S+://\S+", described)
    assert re.search(r"Ready +True", block(described, "Conditions"))
    events = block(described, "Events")
    said = re.findall(r"^ +Normal +(\w+) .*  (\S+-\S+)  ", events, re.MULTILINE)
    assert said == [("Scheduled", "default-scheduler")] + [
        (reason, "kubetide-agent") for reason in ("Pulled", "Created", "Started")
    ]
    assert kubectl("delete", "pod", "web", WITHIN).startswith('pod "web" deleted')
    assert "not found" in kubectl("get", "pod", "web", fails=True)


def _described(kubectl: Kubectl, name: str, *, until: str) -> str:
    """Events are written beside the status, a moment later perhaps."""
    deadline = time.monotonic() + END_WITHIN
    while until not in (text := kubectl("describe", "pod", name)):
        assert time.monotonic() < deadline, text
        time.sleep(0.1)
    return text


def test_labels_are_patched_and_edited_while_the_pod_runs_on(kubectl: Kubectl) -> None:
    kubectl.apply(manifest("labelled"))
    kubectl("wait", "--for=condition=Ready", "pod/labelled", WITHIN)
    first = kubectl.get("pod", "labelled")["status"]["containerStatuses"][0]["containerID"]
    kubectl("label", "pod", "labelled", "tier=one")
    kubectl("patch", "pod", "labelled", "-p", '{"metadata":{"labels":{"tier":"two"}}}')
    kubectl("edit", "pod", "labelled")
    found = kubectl.get("pod", "labelled")
    assert found["metadata"]["labels"] == {"app": "after", "tier": "two"}
    assert found["status"]["containerStatuses"][0]["containerID"] == first
    kubectl("delete", "pod", "labelled", WITHIN)


def test_a_watch_shows_a_pod_from_its_beginning_to_its_end(kubectl: Kubectl) -> None:
    kubectl.apply(manifest("before"))
    command = kubectl.command("get", "pods", "-w", "--no-headers")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        try:
            watching.stdout.readline()  # The list, from which the watch goes on.
            kubectl.apply(manifest("watched"))
            kubectl("wait", "--for=condition=Ready", "pod/watched", WITHIN)
            kubectl("delete", "pod", "watched", "before", WITHIN)
        finally:
            time.sleep(0.5)
            watching.terminate()
        lines = [line.split() for line in watching.stdout.read().splitlines()]
        states = [line[2] for line in lines if line[0] == "watched"]
    assert states[0] == "Pending"
    assert states.index("Running") < states.index("Terminating")


def test_config_maps_and_secrets_that_kubectl_made_are_in_the_pod(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "app", "--from-literal=mode=quiet")
    kubectl("create", "secret", "generic", "app", "--from-literal=word=s3cret")
    test = 'test "$mode $word" = "quiet s3cret" && exec sleep 3600'
    wanted = manifest("configured", command=["sh", "-c", test])
    both = [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "app"}}]
    wanted["spec"]["containers"][0]["envFrom"] = both
    kubectl.apply(wanted)
    kubectl("wait", "--for=condition=Ready", "pod/configured", WITHIN)
    kubectl("delete", "pod/configured", "configmap/app", "secret/app", WITHIN)


def test_an_interrupt_ends_it_with_nothing_left_and_nothing_of_the_machines_own_gone(
    tmp_path: Path,
) -> None:
    """A pod that is still there has folders of the machine mounted below that of the cluster."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/kept").write_text("mine")
    left = manifest("left")
    left["spec"]["volumes"] = [
        {"name": "host", "hostPath": {"path": str(tmp_path)}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    left["spec"]["containers"][0]["volumeMounts"] = [
        {"name": "host", "mountPath": "/data", "subPath": "data"},
        {"name": "memory", "mountPath": "/memory"},
    ]
    with running_up() as running:
        running.kubectl.apply(left)
        running.kubectl("wait", "--for=condition=Ready", "pod/left", WITHIN)
        mine = of_folder(running.folder)
        assert any("cloudhub" in one for one in mine.values())
        assert any("edgeagent" in one for one in mine.values())
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(END_WITHIN) == 0
        assert of_folder(running.folder) == {}
        assert str(running.folder) not in Path("/proc/self/mountinfo").read_text()
        assert list(running.folder.iterdir()) == []
    assert (tmp_path / "data/kept").read_text() == "mine"


def test_a_program_that_dies_ends_it_with_its_last_words() -> None:
    with running_up() as running:
        (agent,) = [pid for pid, one in of_folder(running.folder).items() if "edgeagent" in one]
        os.kill(agent, signal.SIGKILL)
        assert running.process.wait(END_WITHIN) == 1
        assert of_folder(running.folder) == {}


def of_folder(folder: Path) -> dict[int, str]:
    """Processes that have the folder in their environment or command line: all it started."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            around = (place / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if line and int(place.name) != os.getpid() and str(folder) in line + around:
            found[int(place.name)] = line
    return found
