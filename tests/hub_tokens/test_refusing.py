"""Which token a node may have: those that volumes of its own pods ask for, and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cloudhub.fleet.fleet import Fleet
from cloudhub.tokens import failure, order, refusal, token_of
from shared.asking import TokenRequest
from shared.errors import KubeError, KubeRefused
from shared.objects import Json

NODE = "edge-1"
API = TokenRequest("default", "web", "uid-web", "robot", (), 3607)
VAULT = replace(API, audiences=("vault",), expiration_seconds=600)


def pod(name: str = "web", node: str = NODE, **spec: Any) -> Json:
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"serviceAccountToken": {"path": "vault", "audience": "vault", "expirationSeconds": 600}},
    ]
    metadata = {"namespace": "default", "name": name, "uid": f"uid-{name}", "resourceVersion": "1"}
    volumes = [{"name": "access", "projected": {"sources": sources}}]
    return {
        "metadata": metadata,
        "spec": {"nodeName": node, "serviceAccountName": "robot", "volumes": volumes, **spec},
    }


def fleet(*pods: Json) -> Fleet:
    made = Fleet()
    for node in (NODE, "edge-2"):
        made.manage(node)
    made.list_pods(pods)
    return made


@pytest.mark.parametrize("request_", [API, VAULT])
def test_what_a_volume_of_its_own_pod_asks_for_is_given(request_: TokenRequest) -> None:
    assert refusal(fleet(pod()), NODE, request_) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"namespace": "kube-system"},
        {"pod": "other"},
        {"uid": "uid-older"},
        {"service_account": "admin"},
        {"audiences": ("other",)},
        {"audiences": ("vault",)},
        {"expiration_seconds": 86400},
    ],
    ids=str,
)
def test_everything_else_is_refused_for_good(changed: dict[str, Any]) -> None:
    answer = refusal(fleet(pod()), NODE, replace(API, **changed))
    assert answer is not None and answer.permanent and not answer.token


def test_a_pod_of_another_node_is_as_good_as_none() -> None:
    theirs = fleet(pod(node="edge-2"))
    one = refusal(theirs, NODE, API)
    assert one is not None and one.permanent
    assert one == refusal(fleet(), NODE, API)


def test_a_pod_without_such_a_volume_gets_none() -> None:
    answer = refusal(fleet(pod(volumes=[])), NODE, API)
    assert answer is not None and answer.permanent


def test_the_account_is_the_default_one_where_the_pod_names_none() -> None:
    nameless = pod()
    del nameless["spec"]["serviceAccountName"]
    assert refusal(fleet(nameless), NODE, API) is not None
    assert refusal(fleet(nameless), NODE, replace(API, service_account="default")) is None


def test_while_the_pods_are_not_known_nothing_is_refused_for_good() -> None:
    """A hub that has just started."""
    unlisted = Fleet()
    for stage in range(2):
        answer = refusal(unlisted, NODE, API)
        assert answer is not None and not answer.permanent and answer.retry_after
        if not stage:
            unlisted.manage(NODE)


def test_the_order_is_bound_to_the_pod() -> None:
    made = order(VAULT)
    assert made["metadata"] == {"name": "robot", "namespace": "default"}
    assert made["spec"] == {
        "audiences": ["vault"],
        "expirationSeconds": 600,
        "boundObjectRef": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": "web",
            "uid": "uid-web",
        },
    }


@pytest.mark.parametrize(
    ("error", "permanent", "wait"),
    [
        (KubeError("away"), False, 5),
        (KubeError("slow down", status=429, delay=17.0), False, 17),
        (KubeRefused("no right", status=403), False, 60),
        (KubeRefused("no account yet", status=404), False, 5),
        (KubeRefused("another uid", status=409), True, 0),
        (KubeRefused("nonsense", status=422), True, 0),
    ],
)
def test_what_may_pass_is_worth_another_try(error: Any, permanent: bool, wait: int) -> None:
    answer = failure(error)
    assert (answer.permanent, answer.retry_after) == (permanent, wait)
    assert str(error) in answer.error


@pytest.mark.parametrize(
    "status",
    [
        *(None, {}, {"token": "x"}, {"token": "x", "expirationTimestamp": "soon"}),
        {"token": "x", "expirationTimestamp": None},
        {"token": "x", "expirationTimestamp": "1970-01-01T00:01:00Z"},
    ],
    ids=str,
)
def test_an_answer_without_a_usable_token_is_tried_again(status: Json | None) -> None:
    with pytest.raises(KubeError):
        token_of({"status": status}, 1000.0)


def test_the_life_of_a_token_is_what_is_left_of_it() -> None:
    made = {"status": {"token": "x", "expirationTimestamp": "1970-01-01T01:00:00Z"}}
    answer = token_of(made, 600.0)
    assert (answer.token, answer.expires_at, answer.life) == ("x", 3600, 3000)
