"""Pods: defaults, refusals, what may change, and who may change the status."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.api import STRATEGIC, Api, pod


async def test_a_pod_gets_its_defaults(api: Api) -> None:
    container = {
        "name": "main",
        "image": "registry:5000/app",
        "ports": [{"containerPort": 80}],
        "livenessProbe": {"httpGet": {"port": 80}},
        "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {"limits": {"cpu": "1", "memory": "64Mi"}},
    }
    volumes = [
        {"name": "c", "configMap": {"name": "c"}},
        {"name": "s", "secret": {"secretName": "s"}},
        {"name": "h", "hostPath": {"path": "/tmp"}},
        {"name": "e"},
    ]
    created = await api.created("pods", pod(containers=[container], volumes=volumes))
    spec = created["spec"]
    expected = {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
        "enableServiceLinks": True,
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    assert {name: spec[name] for name in expected} == expected
    _check_container(spec["containers"][0])
    assert [_without_name(volume) for volume in spec["volumes"]] == [
        {"configMap": {"name": "c", "defaultMode": 420}},
        {"secret": {"secretName": "s", "defaultMode": 420}},
        {"hostPath": {"path": "/tmp", "type": ""}},
        {"emptyDir": {}},
    ]
    assert created["status"] == {"phase": "Pending", "qosClass": "Guaranteed"}


def _check_container(container: dict[str, Any]) -> None:
    assert container["imagePullPolicy"] == "Always"
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["terminationMessagePolicy"] == "File"
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert container["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def _without_name(volume: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in volume.items() if field != "name"}


async def test_a_pod_tolerates_a_node_that_is_away_for_five_minutes(api: Api) -> None:
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}
    created = await api.created("pods", pod(tolerations=[own]))
    tolerations = created["spec"]["tolerations"]
    assert tolerations[0] == own
    assert tolerations[1:] == [
        {
            "key": "node.kubernetes.io/unreachable",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 300,
        }
    ]


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "memory": "1Gi"}}, "Burstable"),
    ],
)
async def test_quality_of_service(api: Api, resources: dict[str, Any], quality: str) -> None:
    container = {"name": "main", "image": "i", "resources": resources}
    created = await api.created("pods", pod(containers=[container]))
    assert created["status"]["qosClass"] == quality


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"containers": []}, "spec.containers"),
        ({"containers": [{"name": "a"}]}, "spec.containers[0].image"),
        ({"containers": [{"name": "A", "image": "i"}]}, "spec.containers[0].name"),
        ({"containers": [{"name": "a", "image": "i"}] * 2}, "spec.containers[1].name"),
        ({"restartPolicy": "Sometimes"}, "spec.restartPolicy"),
        ({"volumes": [{"name": "v"}, {"name": "v"}]}, "spec.volumes[1].name"),
        (
            {
                "containers": [
                    {
                        "name": "a",
                        "image": "i",
                        "volumeMounts": [{"name": "none", "mountPath": "/x"}],
                    }
                ]
            },
            "spec.containers[0].volumeMounts[0].name",
        ),
        (
            {"containers": [{"name": "a", "image": "i", "ports": [{"containerPort": 70000}]}]},
            "spec.containers[0].ports[0].containerPort",
        ),
    ],
)
async def test_a_wrong_pod_is_refused_by_field(api: Api, spec: dict[str, Any], field: str) -> None:
    answer = await api.post("pods", pod(**spec))
    assert answer.refusal == (422, "Invalid")
    assert field in [cause["field"] for cause in answer["details"]["causes"]]
    assert answer["message"].startswith('Pod "web" is invalid: ')


async def test_a_field_of_a_wrong_type_is_refused(api: Api) -> None:
    answer = await api.post("pods", pod(containers="none"))
    assert answer.refusal == (400, "BadRequest")


async def test_unknown_fields_are_refused_warned_about_or_dropped(api: Api) -> None:
    if api.cluster.minor < 25:
        pytest.skip("this server has no fieldValidation")
    body = pod(containers=[{"name": "a", "image": "i", "imagee": "x"}], nodename="x")
    strict = await api.post("pods", body, fieldValidation="Strict")
    assert strict.refusal == (400, "BadRequest")
    assert 'strict decoding error: unknown field "spec.containers[0].imagee"' in strict["message"]
    assert 'unknown field "spec.nodename"' in strict["message"]
    warned = await api.post("pods", body)
    assert warned.code == 201
    warnings = warned.headers.getall("Warning")
    assert '299 - "unknown field \\"spec.nodename\\""' in warnings
    assert "nodename" not in warned["spec"] and "imagee" not in warned["spec"]["containers"][0]


@pytest.mark.parametrize(
    "change",
    [
        {"nodeName": "edge-2"},
        {"restartPolicy": "Never"},
        {"terminationGracePeriodSeconds": 5},
        {"hostNetwork": True},
        {"containers": [{"name": "main", "command": ["x"]}]},
        {"tolerations": None},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_most_of_a_pods_spec_never_changes(api: Api, change: dict[str, Any]) -> None:
    await api.created("pods", pod(tolerations=[{"key": "edge", "operator": "Exists"}]))
    answer = await api.patch("pods/web", {"spec": change}, media=STRATEGIC)
    assert answer.refusal == (422, "Invalid")


async def test_image_deadline_and_more_tolerations_may_change(api: Api) -> None:
    created = await api.created("pods", pod())
    more = [*created["spec"]["tolerations"], {"key": "edge", "operator": "Exists"}]
    for change in (
        {"containers": [{"name": "main", "image": "busybox:2"}]},
        {"activeDeadlineSeconds": 60},
        {"tolerations": more},
    ):
        answer = await api.patch("pods/web", {"spec": change}, media=STRATEGIC)
        assert answer.code == 200, answer.body


async def test_the_status_changes_only_at_its_own_path(api: Api) -> None:
    await api.created("pods", pod())
    main = await api.patch(
        "pods/web", {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Running"}}
    )
    assert main["status"]["phase"] == "Pending" and main.metadata["labels"] == {"a": "b"}
    change = {"spec": {"activeDeadlineSeconds": 5}, "status": {"phase": "Running"}}
    status = await api.patch("pods/web/status", change)
    assert status["status"]["phase"] == "Running"
    assert "activeDeadlineSeconds" not in status["spec"]
    body = status.body
    body["status"]["phase"] = "Failed"
    assert (await api.put("pods/web", body))["status"]["phase"] == "Running"
    body = (await api.get("pods/web")).body
    body["status"]["message"] = "gone wrong"
    put = await api.put("pods/web/status", body)
    assert put["status"]["message"] == "gone wrong"
    assert put["status"]["qosClass"] == "BestEffort"


async def test_a_status_in_a_new_pod_is_ignored(api: Api) -> None:
    created = await api.created("pods", pod() | {"status": {"phase": "Running"}})
    assert created["status"]["phase"] == "Pending"


async def test_a_node_brings_its_own_status(api: Api, node_name: str) -> None:
    status = {"capacity": {"cpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]}
    body = {"metadata": {"name": node_name}, "status": status}
    created = await api.created("/api/v1/nodes", body)
    assert created["status"]["capacity"] == {"cpu": "4"}
    assert created["status"]["conditions"][0]["status"] == "True"


async def test_a_pod_is_bound_once(api: Api) -> None:
    await api.created("pods", pod(nodeName=None))
    binding = {"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "edge-7"}}
    assert (await api.post("pods/web/binding", binding)).code == 201
    bound = (await api.get("pods/web")).body
    assert bound["spec"]["nodeName"] == "edge-7"
    assert bound["status"]["conditions"][0]["type"] == "PodScheduled"
    assert (await api.post("pods/web/binding", binding)).refusal == (409, "Conflict")


async def test_a_service_account_token_is_issued(api: Api) -> None:
    await api.post("serviceaccounts", {"metadata": {"name": "robot"}})
    body = {"spec": {"audiences": ["edge"], "expirationSeconds": 600}}
    answer = await api.post("serviceaccounts/robot/token", body)
    assert answer.code == 201
    assert answer["status"]["token"].count(".") == 2
    assert answer["status"]["expirationTimestamp"]
