"""CRI messages as the port's dataclasses, from old runtimes and new ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgeagent.runtime import cri_answers
from edgeagent.runtime.abilities import Handler
from edgeagent.runtime.cri_messages import cri
from edgeagent.runtime.looking import changes, looks
from edgeagent.runtime.port import Change, ContainerState, SandboxState
from edgeagent.runtime.users import ContainerUser

LABELS = {"io.kubernetes.pod.uid": "u-1", "io.kubernetes.container.name": "main"}


def pod(sandbox_id: str, **fields: Any) -> Any:
    names = cri.PodSandboxMetadata(name="p", namespace="ns", uid="u-1", attempt=1)
    return cri.PodSandbox(**{"id": sandbox_id, "metadata": names, "labels": LABELS, **fields})


def container(container_id: str, sandbox_id: str, **fields: Any) -> Any:
    names = cri.ContainerMetadata(name="main", attempt=fields.pop("attempt", 0))
    return cri.Container(id=container_id, pod_sandbox_id=sandbox_id, metadata=names, **fields)


def test_lists_are_joined_newest_container_first() -> None:
    [first, second] = cri_answers.listed(
        [pod("s1"), pod("s2", state=cri.SANDBOX_NOTREADY)],
        [
            container("old", "s1", created_at=1, state=cri.CONTAINER_EXITED),
            container("new", "s1", created_at=2, attempt=1, state=cri.CONTAINER_RUNNING),
            container("orphan", "gone"),
        ],
    )
    assert [one.id for one in first.containers] == ["new", "old"]
    assert first.containers[0].state is ContainerState.RUNNING
    assert (first.state, second.state) == (SandboxState.READY, SandboxState.NOT_READY)
    assert second.containers == ()


def test_what_no_kubelet_made_is_left_out() -> None:
    assert cri_answers.listed([pod("s1", labels={"made-by": "hand"})], []) == []


def test_an_unknown_state_of_a_newer_runtime_is_unknown() -> None:
    [one] = cri_answers.listed([pod("s1")], [container("c", "s1", state=99)])
    assert one.containers[0].state is ContainerState.UNKNOWN


def test_an_inspected_sandbox_has_all_its_addresses() -> None:
    network = cri.PodSandboxNetworkStatus(ip="10.0.0.1", additional_ips=[cri.PodIP(ip="fd00::1")])
    status = cri.PodSandboxStatus(id="s1", network=network)
    assert cri_answers.inspected(status, []).ips == ("10.0.0.1", "fd00::1")
    assert cri_answers.inspected(cri.PodSandboxStatus(id="s1"), []).ips == ()


def test_a_container_says_whom_it_runs_as_where_the_runtime_knows() -> None:
    who = cri.LinuxContainerUser(uid=1000, gid=0, supplemental_groups=[0, 4000])
    told = cri.ContainerStatus(id="c", user=cri.ContainerUser(linux=who))
    assert cri_answers.container(told, "s1").user == ContainerUser(1000, 0, (0, 4000))
    root = cri.ContainerStatus(id="c", user=cri.ContainerUser(linux=cri.LinuxContainerUser()))
    assert cri_answers.container(root, "s1").user == ContainerUser(0, 0)
    for silent in (cri.ContainerStatus(id="c"), cri.ContainerStatus(user=cri.ContainerUser())):
        assert cri_answers.container(silent, "s1").user is None


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (cri.RUNTIME_DEFAULT, ""),
        (cri.SIGUSR1, "SIGUSR1"),
        (cri.SIGRTMINPLUS1, "SIGRTMIN+1"),
        (cri.SIGRTMAXMINUS2, "SIGRTMAX-2"),
        (9999, ""),
    ],
)
def test_a_container_says_by_which_signal_it_is_stopped(number: int, name: str) -> None:
    told = cri.ContainerStatus(id="c", stop_signal=number)
    assert cri_answers.container(told, "s1").stop_signal == name


def test_an_exited_container_says_why() -> None:
    status = cri.ContainerStatus(
        id="c",
        state=cri.CONTAINER_EXITED,
        exit_code=137,
        reason="OOMKilled",
        message="out",
        created_at=1,
        started_at=2,
        finished_at=3,
        image=cri.ImageSpec(image="app:1"),
        image_ref="app@sha256:1",
    )
    seen = cri_answers.container(status, "s1")
    assert (seen.exit_code, seen.reason, seen.message) == (137, "OOMKilled", "out")
    assert (seen.created_at, seen.started_at, seen.finished_at) == (1, 2, 3)
    assert (seen.image, seen.image_ref, seen.sandbox_id) == ("app:1", "app@sha256:1", "s1")


def test_moments_that_never_were_are_zero() -> None:
    """CRI-O has Go's zero time for them, counted in nanoseconds since 1970."""
    never = -6795364578871345152
    status = cri.ContainerStatus(id="c", started_at=never, finished_at=never)
    seen = cri_answers.container(status, "s1")
    assert (seen.started_at, seen.finished_at) == (0, 0)


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({"uid": cri.Int64Value(value=0)}, "0"),
        ({"uid": cri.Int64Value(value=1234)}, "1234"),
        ({"username": "app"}, "app"),
        ({}, ""),
    ],
)
def test_an_images_user_is_a_number_a_name_or_not_given(fields: dict[str, Any], user: str) -> None:
    assert cri_answers.image(cri.Image(id="i", **fields)).user == user


def test_a_new_runtime_lists_its_handlers_and_driver_and_what_it_can() -> None:
    status = cri.StatusResponse(
        runtime_handlers=[
            cri.RuntimeHandler(name="kata"),
            cri.RuntimeHandler(
                features=cri.RuntimeHandlerFeatures(
                    recursive_read_only_mounts=True, user_namespaces=True
                )
            ),
        ],
        features=cri.RuntimeFeatures(supplemental_groups_policy=True),
    )
    version = cri.VersionResponse(runtime_name="containerd", runtime_version="2.1")
    info = cri_answers.runtime_info(version, status, driver="systemd", has_events=True)
    able = Handler(recursive_readonly=True, user_namespaces=True)
    assert (info.handlers, info.lists_handlers) == ((able, Handler("kata")), True)
    assert (info.cgroup_driver, info.has_events, info.strict_groups) == ("systemd", True, True)


@pytest.mark.parametrize("systemd", [True, False])
def test_an_old_containerd_shows_them_in_its_configuration(systemd: bool) -> None:
    runtimes = {"runc": {"options": {"SystemdCgroup": systemd}}, "crun": {"options": None}}
    config = json.dumps({"containerd": {"runtimes": runtimes}})
    info = cri_answers.runtime_info(
        cri.VersionResponse(),
        cri.StatusResponse(info={"config": config}),
        driver="",
        has_events=False,
    )
    assert info.handlers == (Handler(), Handler("crun"), Handler("runc"))
    assert (info.lists_handlers, info.strict_groups) == (False, None)
    assert info.cgroup_driver == ("systemd" if systemd else "cgroupfs")


def test_an_old_cri_o_has_the_driver_that_it_has_by_default() -> None:
    version = cri.VersionResponse(runtime_name="cri-o", runtime_version="1.24.6")
    status = cri.StatusResponse(info={"config": '{"sandboxImage": "pause:3"}'})
    info = cri_answers.runtime_info(version, status, driver="", has_events=False)
    assert (info.cgroup_driver, info.sandbox_image) == ("systemd", "pause:3")


@pytest.mark.parametrize("config", ["", "{", "[]", "{}", '{"containerd": {"runtimes": []}}'])
def test_a_strange_configuration_means_the_defaults(config: str) -> None:
    status = cri.StatusResponse(info={"config": config})
    info = cri_answers.runtime_info(cri.VersionResponse(), status, driver="", has_events=False)
    assert (info.handlers, info.cgroup_driver) == ((Handler(),), "cgroupfs")


def test_a_network_that_is_not_ready_says_why() -> None:
    condition = cri.RuntimeCondition(type="NetworkReady", status=False, message="no CNI config")
    status = cri.StatusResponse(status=cri.RuntimeStatus(conditions=[condition]))
    assert cri_answers.network_ready(status) == (False, "no CNI config")
    ready, reason = cri_answers.network_ready(cri.StatusResponse())
    assert not ready and reason


def test_stats_survive_what_a_runtime_leaves_out() -> None:
    attributes = cri.ContainerAttributes(id="c", labels=LABELS)
    stats = cri_answers.stats(cri.ContainerStats(attributes=attributes))
    assert (stats.name, stats.pod_uid, stats.cpu_usage_ns) == ("main", "u-1", 0)
    bare = cri_answers.stats(cri.ContainerStats(attributes=cri.ContainerAttributes(id="c")))
    assert (bare.name, bare.pod_uid) == ("", "")


def test_only_pods_that_look_different_differ() -> None:
    before = looks(cri_answers.listed([pod("s1")], [container("c", "s1")]))
    same = cri_answers.listed([pod("s1")], [container("c", "s1")])
    runs = cri_answers.listed([pod("s1")], [container("c", "s1", state=1)])
    restarted = cri_answers.listed([pod("s1")], [container("d", "s1", state=1)])
    assert changes(before, same) == []
    assert changes(before, runs) == changes({}, runs) == [Change("u-1", tuple(runs))]
    assert changes(looks(runs), restarted) == [Change("u-1", tuple(restarted))]
    assert changes(looks(runs), []) == [Change("u-1", ())]
