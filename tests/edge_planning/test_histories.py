"""Random histories of one pod: the judge in ``model.py`` sees every plan."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeagent.pods import restarting, specs
from edgeagent.pods.restarting import SHUTDOWN, comes_back
from edgeagent.pods.view import Eviction, Shutdown, Wanted
from shared.objects import Json
from tests.edge_planning.model import Model

ENOUGH_STEPS = 400

POLICIES = st.sampled_from(["Always", "OnFailure", "Never"])


@st.composite
def pods(draw: st.DrawFn) -> Json:
    inits: list[Json] = []
    for number in range(draw(st.integers(0, 3))):
        init: Json = {"name": f"init-{number}", "image": "app:1"}
        if draw(st.booleans()):
            init["restartPolicy"] = "Always"
            if draw(st.booleans()):
                init["lifecycle"] = {"preStop": {"sleep": {"seconds": 5}}}
        inits.append(init)
    mains: list[Json] = [
        {"name": f"main-{number}", "image": "app:1"} for number in range(draw(st.integers(1, 3)))
    ]
    spec: Json = {
        "containers": mains,
        "initContainers": inits,
        "restartPolicy": draw(POLICIES),
        "terminationGracePeriodSeconds": draw(st.sampled_from([0, 1, 30])),
    }
    if draw(st.booleans()):
        codes = {"operator": "In", "values": [1]}
        rule = {"action": "RestartAllContainers", "exitCodes": codes}
        chosen = draw(st.sampled_from([*mains, *inits]))
        chosen.update(restartPolicyRules=[rule])
        chosen.setdefault("restartPolicy", "Never")
    if draw(st.booleans()):
        spec["activeDeadlineSeconds"] = draw(st.integers(1, 3000))
    if draw(st.booleans()):
        mains[0]["ports"] = [{"containerPort": 80, "hostPort": 8080}]
    return {"metadata": {"name": "web", "namespace": "default", "uid": "uid"}, "spec": spec}


HAPPENINGS = st.one_of(
    st.tuples(st.just("finish"), st.integers(0, 9)),
    st.tuples(st.just("finish"), st.integers(0, 9)),
    st.tuples(st.just("finish all"), st.just(0)),
    st.tuples(st.just("fail"), st.integers(0, 9)),
    st.tuples(st.just("exit"), st.integers(0, 9)),
    st.tuples(st.just("succeed"), st.integers(0, 9)),
    st.tuples(st.just("unhealthy"), st.integers(0, 9)),
    st.tuples(st.just("time"), st.sampled_from([1, 11, 301, 700])),
    st.tuples(st.just("reboot"), st.just(0)),
    st.tuples(st.just("pause dies"), st.just(0)),
    st.tuples(st.just("new agent"), st.just(0)),
    st.tuples(st.just("new image"), st.integers(0, 9)),
    st.tuples(st.just("delete"), st.sampled_from([0, 5, 60])),
    st.tuples(st.just("evict"), st.just(0)),
    st.tuples(st.just("shutdown"), st.just(0)),
    st.tuples(st.just("its turn"), st.sampled_from([0, 1, 9])),
    st.tuples(st.just("shutdown cancelled"), st.just(0)),
    st.tuples(st.just("gone"), st.just(0)),
    st.tuples(st.just("unknown"), st.just(0)),
    st.tuples(st.just("wanted again"), st.just(0)),
)


def happen(model: Model, what: str, number: int) -> None:
    running = model.running()
    one = running[number % len(running)] if running else None
    match what:
        case "finish" | "fail" if model.under_way:
            action = model.under_way[number % len(model.under_way)]
            (model.finish if what == "finish" else model.fail)(action)
        case "finish all":
            for action in list(model.under_way):
                model.finish(action)
        case "exit" | "succeed" if one is not None:
            model.end(one.id, 1 if what == "exit" else 0)
        case "unhealthy" if one is not None:
            model.unhealthy[one.id] = "liveness"
        case "time":
            model.now += number
        case "reboot":
            model.boot()
        case "shutdown" if model.shutdown is None:
            model.shutdown = Shutdown()
        case "its turn" if model.shutdown == Shutdown():
            model.shutdown = Shutdown(number, model.now)
        case "shutdown cancelled":
            model.shutdown = None
        case "pause dies":
            model.pause_dies()
        case "new agent":
            model.new_agent()
        case "new image":
            mains = model.pod["spec"]["containers"]
            mains[number % len(mains)]["image"] = f"app:{number}"
        case "delete" if model.wanted in (Wanted.RUN, Wanted.DELETE):
            model.wanted, model.grace = Wanted.DELETE, number
        case "evict" if model.facts.admitted and model.facts.final is None:
            model.eviction = Eviction("The node was low on resource: memory. ")
        case "gone":
            model.wanted, model.grace = Wanted.GONE, None
        case "unknown" if model.wanted is Wanted.RUN:
            model.wanted = Wanted.UNKNOWN
        case "wanted again" if model.wanted in (Wanted.GONE, Wanted.UNKNOWN):
            model.wanted = Wanted.RUN


@settings(max_examples=300, deadline=None)
@given(pods(), st.lists(HAPPENINGS, max_size=60))
def test_no_history_leads_to_a_wrong_plan(pod: Json, history: list[tuple[str, int]]) -> None:
    """Never two contradictory actions, no healthy container stopped, and it always ends."""
    model = Model(pod)
    for what, number in history:
        if model.forgotten:
            return
        model.look()
        happen(model, what, number)
    _dies_when_nobody_wants_it(model)


@settings(max_examples=200, deadline=None)
@given(pods(), st.lists(HAPPENINGS, max_size=30))
def test_a_wanted_pod_settles(pod: Json, history: list[tuple[str, int]]) -> None:
    """Left alone, it runs or it has ended: then no plan asks for anything any more."""
    model = Model(pod)
    for what, number in history:
        if what in ("delete", "gone", "unknown"):
            continue
        model.look()
        happen(model, what, number)
    model.shutdown = None
    for _ in range(ENOUGH_STEPS):
        model.now += 301
        model.look()
        starting = [one for one in model.running() if _is_regular_init(pod, one.name)]
        for one in starting:
            model.end(one.id, 0)
        if not model.under_way and not starting:
            break
        for action in list(model.under_way):
            model.finish(action)
    else:
        raise AssertionError(f"never settles: {model.under_way}")
    names = {one.name for one in model.running()}
    mains: set[Any] = {one["name"] for one in pod["spec"]["containers"]}
    policy = pod["spec"]["restartPolicy"]
    if model.facts.final is None:
        assert names & mains or policy != "Always"
    else:
        assert not names


@settings(max_examples=200, deadline=None)
@given(pods(), st.lists(HAPPENINGS, max_size=30), st.sampled_from([0, 1, 9]))
def test_a_device_that_shuts_down_brings_every_pod_to_rest(
    pod: Json, history: list[tuple[str, int]], grace: int
) -> None:
    """Whatever went before; what comes back runs after the boot, what does not has failed."""
    model = Model(pod)
    for what, number in history:
        if what not in ("delete", "gone", "evict"):
            model.look()
            happen(model, what, number)
    model.wanted, model.shutdown = Wanted.RUN, Shutdown(grace, model.now)
    ended_before = model.look().facts.final is not None
    starts = list(model.starts)
    for _ in range(ENOUGH_STEPS):
        if model.look().rests:
            break
        for action in list(model.under_way):
            model.finish(action)
    else:
        raise AssertionError(f"never rests: {model.under_way}")
    assert not model.running()
    created = len(model.starts) - len(starts)
    assert created <= len(pod["spec"]["containers"]) + 3, "only what was being started"
    if model.facts.final is None and model.facts.admitted:
        assert comes_back(pod)
        stopped = {
            name: one
            for name, one in model.facts.containers.items()
            if one.killed == SHUTDOWN and _has_policy(pod, name) != "Never"
        }
        model.boot()
        _settle(model)
        assert model.facts.final is not None or model.running()
        for name, one in stopped.items():
            again = model.facts.container(name)
            assert again is not None
            assert model.facts.final is not None or again.attempt == one.attempt + 1, name
    elif not comes_back(pod) and not ended_before and model.facts.stopping:
        assert model.facts.stopping.reason in ("", "Terminated", "DeadlineExceeded")


def _has_policy(pod: Json, name: str) -> str:
    container = specs.container_named(pod, name)
    assert container is not None
    return restarting.policy_of(pod, container)


def _settle(model: Model) -> None:
    for _ in range(ENOUGH_STEPS):
        model.now += 61
        model.look()
        for one in model.running():
            if _is_regular_init(model.pod, one.name):
                model.end(one.id, 0)
        if not model.under_way and model.running():
            return
        for action in list(model.under_way):
            model.finish(action)


def _is_regular_init(pod: Json, name: str) -> bool:
    inits = [one for one in pod["spec"]["initContainers"] if one.get("restartPolicy") != "Always"]
    return any(one["name"] == name for one in inits)


def _dies_when_nobody_wants_it(model: Model) -> None:
    model.wanted, model.grace = Wanted.GONE, None
    for _ in range(ENOUGH_STEPS):
        model.now += 61
        model.look()
        for action in list(model.under_way):
            model.finish(action)
        if model.forgotten:
            assert model.sandboxes == []
            return
    raise AssertionError(f"never ends: {model.under_way}")
