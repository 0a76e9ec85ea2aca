"""Two sources of pods, the hub and the device's folder: neither speaks for the other."""

from __future__ import annotations

from pathlib import Path

from edgeagent.desired import DesiredPod, DesiredSet
from edgeagent.pods.resources import kernel
from edgeagent.staticpods.manifests import parse
from shared.objects import Json
from tests.edge_session.conftest import Model
from tests.edge_session.rig import NODE, a_hub, until
from tests.edge_session.test_desired_set import WEB, desired_of, pod, set_of
from tests.edge_static.test_agent import WEB as NAME
from tests.edge_static.test_agent import machine_of, phase_of
from tests.edge_static.test_manifests import manifest, written
from tests.parts.virtual_time import virtual

STATIC = parse(written(manifest()), node=NODE)


def with_static(found: DesiredSet, *pods: DesiredPod, known: bool = True) -> DesiredSet:
    found.replace_static({one.key: one for one in pods}, known=known)
    return found


def test_both_are_wanted() -> None:
    found = with_static(set_of(desired_of(1, {WEB: pod()})), STATIC)
    assert found.pods().keys() == {"u1", STATIC.uid}
    found.replace(desired_of(2, {}))
    assert found.pods().keys() == {STATIC.uid}


def test_a_list_of_the_hub_stops_no_static_pod_and_a_folder_no_other() -> None:
    found = with_static(set_of(desired_of(1, {})), STATIC)
    assert not found.may_stop(STATIC.uid, STATIC.key)
    assert found.may_stop("u1", WEB)
    silent = with_static(DesiredSet())
    assert silent.may_stop(STATIC.uid, STATIC.key)
    assert not silent.may_stop("u1", WEB), "no list is known"


def test_before_the_folder_was_read_nothing_static_may_be_stopped() -> None:
    found = with_static(set_of(desired_of(1, {})), known=False)
    assert not found.may_stop(STATIC.uid, STATIC.key)
    assert not found.complete
    heard: list[frozenset[object]] = []
    found.subscribe(heard.append)
    with_static(found)
    assert found.may_stop(STATIC.uid, STATIC.key)
    assert found.complete
    assert heard == [frozenset()], "that absence means something now is news"


def test_while_a_file_cannot_be_used_a_pod_that_was_never_seen_may_be_its_last_good_one() -> None:
    """The database that knew it is lost; a pod that was seen and is gone is stopped as ever."""
    other = parse(written(manifest(name="other")), node=NODE)
    found = with_static(DesiredSet(), other)
    heard: list[frozenset[object]] = []
    found.subscribe(heard.append)
    found.replace_static({}, known=True, doubtful=True)
    assert not found.may_stop(STATIC.uid, STATIC.key)
    assert found.may_stop(other.uid, other.key)
    found.replace_static({}, known=True)
    assert found.may_stop(STATIC.uid, STATIC.key)
    assert heard[1:] == [frozenset()], "that absence means something again is news"


def test_a_pod_of_the_hub_cannot_pass_for_a_static_one() -> None:
    disguised: Json = pod()
    disguised["metadata"]["annotations"] = {"kubernetes.io/config.source": "file"}
    found = set_of(desired_of(1, {WEB: disguised}))
    assert not kernel.is_critical(found.pods()["u1"].pod)
    found = set_of(desired_of(1, {WEB: pod(STATIC.uid)}))
    assert not found.pods()
    assert "metadata.uid" in found.rejected()[WEB].message


@virtual
async def test_of_two_pods_of_one_name_both_run_and_both_are_reported(tmp_path: Path) -> None:
    machine, place = machine_of(Model(tmp_path))
    (place / "web.yaml").write_bytes(written(manifest()))
    async with a_hub(machine.model.link()) as hub, machine.agent():
        await hub.want(NAME)
        await until(lambda: len(machine.containers.pods) == 2)
        await until(lambda: phase_of(hub) == (hub.newest(NAME) or {}).get("phase") == "Running")
        await hub.want()
        await until(lambda: len(machine.containers.pods) == 1, within=60)
        assert phase_of(hub) == "Running"
