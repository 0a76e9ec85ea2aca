"""What a status says of a pod that is looked at once, whatever the runtime answers."""

from __future__ import annotations

from typing import Any

from edgeagent.pods import status
from edgeagent.pods.absorbing import absorb
from edgeagent.pods.facts import PodFacts
from edgeagent.pods.nodefacts import NodeFacts
from edgeagent.pods.view import Moment, PodView, Wanted
from edgeagent.runtime.port import Container, ContainerState, Sandbox, SandboxState
from shared.objects import Json
from tests.edge_pods.world import a_pod

SANDBOX = "sandbox"


def ran(name: str, **how: Any) -> Container:
    running = ContainerState.RUNNING
    base: Json = {"attempt": 0, "state": running, "image": "i", "image_ref": "i", "created_at": 1}
    return Container(f"id-{name}", SANDBOX, name, **{**base, **how})


def ended(name: str, **how: Any) -> Container:
    return ran(name, state=ContainerState.EXITED, finished_at=2, **how)


def told(pod: Json, *containers: Container, ips: tuple[str, ...] = (), **node: Any) -> Json:
    """The pod's status after one look at the runtime."""
    names = {"name": "web", "namespace": "default", "uid": pod["metadata"]["uid"], "attempt": 0}
    ready = SandboxState.READY
    sandbox = Sandbox(SANDBOX, **names, state=ready, created_at=1, ips=ips, containers=containers)
    facts = PodFacts(pod, started_at=1.0, admitted=True)
    view = PodView(pod, Wanted.RUN, facts, (sandbox,), node=NodeFacts("edge-1", **node))
    now = Moment(wall=3.0, monotonic=3.0)
    seen = PodView(pod, Wanted.RUN, absorb(view), (sandbox,), node=view.node)
    return status.current(seen, now)[0]


def test_of_many_addresses_one_of_each_family_is_said() -> None:
    """The API server refuses the whole status for two of one family."""
    many = ("10.0.0.5", "192.168.7.5", "fd00::5")
    said = told(a_pod(), ran("main"), ips=many)
    assert said["podIP"] == "10.0.0.5"
    assert said["podIPs"] == [{"ip": "10.0.0.5"}, {"ip": "fd00::5"}]
