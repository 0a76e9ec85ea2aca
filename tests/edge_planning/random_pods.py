"""Pods of every shape that the planner may meet, for random histories."""

from __future__ import annotations

from hypothesis import strategies as st

from edgeagent.pods.rules.holding import HOLD
from shared.objects import Json
from tests.edge_planning import ledger as truth

POLICIES = ("Always", "OnFailure", "Never")
NAMES = ("ab", "a", "abc")
"""One the beginning of another, on purpose."""
ANEW_RULES = (
    {"action": truth.ALL_ANEW, "exitCodes": {"operator": "In", "values": [42]}},
    {"action": truth.ALL_ANEW, "exitCodes": {"operator": "NotIn", "values": [0, 1, 137, 143]}},
)
RULES = (
    {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}},
    {"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [0, 1, 137, 143]}},
    *ANEW_RULES,
)


@st.composite
def pods(draw: st.DrawFn, *, anew: bool = False) -> Json:
    """``anew``: a container may begin all anew whenever a code says so."""
    sometimes = st.integers(0, 3).map(lambda one: one == 0)
    spec: Json = {
        "initContainers": [
            _container(draw, f"{name}-init", sometimes, init=True, anew=anew)
            for name in NAMES[: draw(st.integers(0, 3))]
        ],
        "containers": [
            _container(draw, name, sometimes, anew=anew)
            for name in NAMES[: draw(st.integers(1, 3))]
        ],
        "restartPolicy": draw(st.sampled_from(POLICIES)),
        "terminationGracePeriodSeconds": draw(st.sampled_from([0, 1, 30])),
    }
    if draw(sometimes):
        spec["activeDeadlineSeconds"] = draw(st.sampled_from([1, 60, 3000]))
    if draw(sometimes):
        spec["resources"] = {"limits": {"cpu": "6", "memory": "8Gi"}}
        for one in (*spec["containers"], *spec["initContainers"]):
            if draw(st.booleans()):
                del one["resources"]["limits"][draw(st.sampled_from(["cpu", "memory"]))]
    if draw(sometimes):
        spec["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": 8080}]
    metadata: Json = {"name": "web", "namespace": "default", "uid": "uid"}
    if draw(sometimes):
        metadata["annotations"] = {HOLD: "true"}
    return {"metadata": metadata, "spec": spec}


def _container(
    draw: st.DrawFn,
    name: str,
    sometimes: st.SearchStrategy[bool],
    *,
    init: bool = False,
    anew: bool = False,
) -> Json:
    one: Json = {"name": name, "image": "app:1"}
    if init and draw(st.booleans()):
        one["restartPolicy"] = "Always"
    elif draw(st.booleans() if init else sometimes):
        one["restartPolicy"] = draw(st.sampled_from(("OnFailure", "Never") if init else POLICIES))
    if "restartPolicy" in one and draw(st.booleans()):
        several = st.lists(st.sampled_from(RULES), min_size=1, max_size=2)
        one["restartPolicyRules"] = draw(several)
    if anew and not init:
        one.setdefault("restartPolicy", draw(st.sampled_from(POLICIES)))
        one["restartPolicyRules"] = [draw(st.sampled_from(ANEW_RULES))]
    if not init or one.get("restartPolicy") == "Always":
        _probes(draw, one, sometimes)
        for hook in ("postStart", "preStop"):
            if draw(st.booleans()):
                one.setdefault("lifecycle", {})[hook] = {"sleep": {"seconds": 60}}
    one["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}}
    if draw(sometimes):
        policies = {"cpu": "NotRequired", "memory": "RestartContainer"}
        one["resizePolicy"] = [
            {"resourceName": resource, "restartPolicy": policy}
            for resource, policy in policies.items()
        ]
    return one


def _probes(draw: st.DrawFn, one: Json, sometimes: st.SearchStrategy[bool]) -> None:
    for kind in ("startup", "liveness", "readiness"):
        if draw(sometimes):
            one[f"{kind}Probe"] = {"tcpSocket": {"port": 80}}
            if kind != "readiness" and draw(st.booleans()):
                one[f"{kind}Probe"]["terminationGracePeriodSeconds"] = draw(st.sampled_from([1, 5]))
