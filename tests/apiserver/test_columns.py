"""STATUS and READY of pods and nodes as kubectl shows them, ages, and forms of an answer."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.apiserver.durations import age_text
from devcluster.apiserver.negotiation import Form, negotiate
from devcluster.apiserver.podcolumns import pod_columns
from devcluster.apiserver.status import ApiError
from devcluster.apiserver.tables import COLUMNS

RUNNING = {"running": {"startedAt": "2026-01-02T03:04:05Z"}}


def _waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


def _ended(code: int, **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code} | more}


def _status(state: dict[str, Any], ready: bool = False, **more: Any) -> dict[str, Any]:
    return {"name": "main", "state": state, "ready": ready, "restartCount": 0} | more


def _pod(phase: str, *containers: Any, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "main"}] * max(len(containers), 1)},
        "status": {"phase": phase, "containerStatuses": list(containers)} | status,
    }


def _with_init(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    pod = _pod("Pending", _status(_waiting("PodInitializing")))
    pod["spec"]["initContainers"] = [{"name": "one"}, {"name": "two"}]
    pod["status"]["initContainerStatuses"] = [_status(_ended(0)), _status(state, **more)]
    return pod


@pytest.mark.parametrize(
    ("pod", "ready", "status"),
    [
        (_pod("Pending"), "0/1", "Pending"),
        (_pod("Pending", _status(_waiting("ContainerCreating"))), "0/1", "ContainerCreating"),
        (_pod("Running", _status(RUNNING, ready=True)), "1/1", "Running"),
        (_pod("Running", _status(RUNNING)), "0/1", "Running"),
        (_pod("Running", _status(_waiting("CrashLoopBackOff"))), "0/1", "CrashLoopBackOff"),
        (_pod("Succeeded", _status(_ended(0, reason="Completed"))), "0/1", "Completed"),
        (_pod("Failed", _status(_ended(2, reason="Error"))), "0/1", "Error"),
        (_pod("Failed", _status(_ended(3))), "0/1", "ExitCode:3"),
        (_pod("Failed", _status(_ended(0, signal=9))), "0/1", "Signal:9"),
        (_pod("Failed", reason="Evicted"), "0/1", "Evicted"),
        (
            _pod("Running", _status(_ended(0, reason="Completed")), _status(RUNNING, ready=True)),
            "1/2",
            "NotReady",
        ),
        (_with_init(RUNNING), "0/1", "Init:1/2"),
        (_with_init(_waiting("CrashLoopBackOff")), "0/1", "Init:CrashLoopBackOff"),
        (_with_init(_waiting("PodInitializing")), "0/1", "Init:1/2"),
        (_with_init(_ended(1, reason="Error")), "0/1", "Init:Error"),
        (_with_init(_ended(1)), "0/1", "Init:ExitCode:1"),
        (_with_init(_ended(0)), "0/1", "PodInitializing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_status_column(pod: dict[str, Any], ready: str, status: str) -> None:
    assert pod_columns(pod, now=0)[:2] == (ready, status)


def test_a_pod_that_is_going_is_terminating_unless_it_has_ended() -> None:
    marked = {"name": "web", "deletionTimestamp": "2026-01-02T03:04:05Z"}
    pod = _pod("Running", _status(RUNNING, ready=True)) | {"metadata": marked}
    assert pod_columns(pod, now=0)[1] == "Terminating"
    ended = _pod("Succeeded", _status(_ended(0, reason="Completed"))) | {"metadata": marked}
    assert pod_columns(ended, now=0)[1] == "Completed"


def test_a_sidecar_counts_as_a_container() -> None:
    pod = _pod("Running", _status(RUNNING, ready=True))
    pod["spec"]["initContainers"] = [{"name": "main", "restartPolicy": "Always"}]
    pod["status"]["initContainerStatuses"] = [_status(RUNNING, ready=True, started=True)]
    assert pod_columns(pod, now=0)[:2] == ("2/2", "Running")


def test_restarts_say_when_the_last_one_was() -> None:
    last = _ended(1, finishedAt="1970-01-01T00:01:00Z")
    status = _status(RUNNING, ready=True) | {"restartCount": 3, "lastState": last}
    assert pod_columns(_pod("Running", status), now=90)[2] == "3 (30s ago)"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-5, "<invalid>"), (0, "0s"), (119, "119s"), (120, "2m"), (150, "2m30s")),
        *((599, "9m59s"), (600, "10m"), (10799, "179m"), (10800, "3h"), (12000, "3h20m")),
        *((28800, "8h"), (172799, "47h"), (172800, "2d"), (180000, "2d2h"), (691200, "8d")),
        *((63071999, "729d"), (63072000, "2y"), (70000000, "2y80d"), (300000000, "9y")),
    ],
)
def test_ages(seconds: int, text: str) -> None:
    assert age_text(seconds) == text


def test_a_node_shows_its_roles_and_state() -> None:
    node = {
        "metadata": {
            "name": "edge-1",
            "labels": {"node-role.kubernetes.io/edge": "", "kubernetes.io/role": "gate"},
        },
        "spec": {"unschedulable": True},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]},
    }
    cells = COLUMNS["Node"].cells(node, 0)
    assert cells[:3] == ["edge-1", "NotReady,SchedulingDisabled", "edge,gate"]


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.WHOLE),
        ("*/*", Form.WHOLE),
        ("application/json", Form.WHOLE),
        ("application/vnd.kubernetes.protobuf,application/json", Form.WHOLE),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Form.TABLE),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Form.WHOLE),
        ("application/json;g=meta.k8s.io;v=v1;as=PartialObjectMetadata", Form.METADATA),
        ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Form.METADATA_LIST),
    ],
)
def test_the_form_that_is_asked_for(accept: str, form: Form) -> None:
    assert negotiate(accept).form is form


@pytest.mark.parametrize("accept", ["application/vnd.kubernetes.protobuf", "text/html"])
def test_a_client_that_takes_no_json_is_refused(accept: str) -> None:
    with pytest.raises(ApiError) as refused:
        negotiate(accept)
    assert refused.value.code == 406
