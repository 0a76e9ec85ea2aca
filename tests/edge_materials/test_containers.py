"""A container's configuration, and who it runs as."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgeagent.pods.materials.containers import Prepared, container_config
from edgeagent.pods.model.errors import ConfigError
from edgeagent.runtime.port import ContainerConfig, ContainerSecurity, Image, SeccompProfile
from shared.objects import Json
from tests.edge_materials.making import NODE, UID, container, pod

IMAGE = Image("sha256:1234")


def configured(
    one: Json, *, image: Image = IMAGE, environment: dict[str, str] | None = None, **spec: Any
) -> ContainerConfig:
    prepared = Prepared(image, environment or {})
    return container_config(pod(one, **spec), one, attempt=3, node=NODE, prepared=prepared)


def secured(
    context: Json | None = None, *, of_pod: Json | None = None, user: str = ""
) -> ContainerSecurity:
    image = replace(IMAGE, user=user)
    one = container(securityContext=context)
    return configured(one, image=image, securityContext=of_pod).security


def test_command_and_arguments_are_expanded_from_the_environment() -> None:
    one = container(command=["run", "$(A)"], args=["--b=$(B)", "$$(A)"], workingDir="/$(A)")
    found = configured(one, environment={"A": "1"})
    assert found.command == ("run", "1")
    assert found.args == ("--b=$(B)", "$(A)")
    assert found.working_dir == "/$(A)"
    assert found.env == (("A", "1"),)


def test_the_runtime_runs_the_image_that_was_looked_up() -> None:
    found = configured(container())
    assert (found.image, found.user_image) == ("sha256:1234", "busybox:1")


def test_each_restart_has_a_log_of_its_own() -> None:
    found = configured(container())
    assert (found.attempt, found.log_path) == (3, "main/3.log")


def test_terminal_and_input_are_as_asked_for() -> None:
    found = configured(container(stdin=True, stdinOnce=True, tty=True))
    assert found.stdin and found.stdin_once and found.tty
    assert not configured(container()).tty


def test_annotations_tell_what_the_container_was_started_with() -> None:
    one = container(
        lifecycle={"preStop": {"exec": {"command": ["x"]}}, "stopSignal": "SIGUSR1"},
        ports=[{"containerPort": 80}],
        terminationMessagePolicy="FallbackToLogsOnError",
    )
    found = configured(one, terminationGracePeriodSeconds=5)
    assert found.stop_signal == "SIGUSR1"
    kept = dict(found.annotations)
    assert len(kept.pop("io.kubernetes.container.hash")) == 8
    assert kept == {
        "io.kubernetes.container.restartCount": "3",
        "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
        "io.kubernetes.container.terminationMessagePolicy": "FallbackToLogsOnError",
        "io.kubernetes.container.type": "container",
        "io.kubernetes.container.preStopHandler": '{"exec":{"command":["x"]}}',
        "io.kubernetes.container.ports": '[{"containerPort":80}]',
        "io.kubernetes.pod.terminationGracePeriod": "5",
        "kubetide.io/resources": "{}",
    }


def test_labels_are_those_tools_look_for() -> None:
    assert configured(container()).labels == {
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "default",
        "io.kubernetes.pod.uid": UID,
        "io.kubernetes.container.name": "main",
    }


# securityContext


def test_the_context_of_the_container_beats_that_of_the_pod() -> None:
    of_pod = {"runAsUser": 1000, "runAsGroup": 2000, "supplementalGroups": [5], "fsGroup": 6}
    found = secured({"runAsUser": 7, "runAsGroup": None}, of_pod=of_pod)
    assert (found.run_as_user, found.run_as_group) == (7, 2000)
    assert found.supplemental_groups == (5, 6)


@pytest.mark.parametrize(
    ("user", "uid", "name"),
    [("", None, ""), ("0", 0, ""), ("1234", 1234, ""), ("1234:5", 1234, ""), ("app", None, "app")],
)
def test_without_a_user_in_the_spec_the_image_decides(
    user: str, uid: int | None, name: str
) -> None:
    found = secured(user=user)
    assert (found.run_as_user, found.run_as_username) == (uid, name)


def test_a_group_without_any_user_is_a_group_of_root() -> None:
    found = secured({"runAsGroup": 5})
    assert (found.run_as_user, found.run_as_group) == (0, 5)


WHERE = f'(pod: "web_default({UID})", container: main)'


@pytest.mark.parametrize(
    ("context", "user", "words"),
    [
        ({}, "", f"container has runAsNonRoot and image will run as root {WHERE}"),
        ({}, "0", f"container has runAsNonRoot and image will run as root {WHERE}"),
        ({"runAsUser": 0}, "5", f"container's runAsUser breaks non-root policy {WHERE}"),
        (
            {},
            "app",
            "container has runAsNonRoot and image has non-numeric user (app),"
            f" cannot verify user is non-root {WHERE}",
        ),
    ],
)
def test_run_as_non_root_is_checked_before_the_start(context: Json, user: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        secured(context, of_pod={"runAsNonRoot": True}, user=user)
    assert (raised.value.reason, str(raised.value)) == ("CreateContainerConfigError", words)


@pytest.mark.parametrize(("context", "user"), [({}, "1234"), ({"runAsUser": 5}, "app")])
def test_a_user_that_is_not_root_is_let_through(context: Json, user: str) -> None:
    secured(context, of_pod={"runAsNonRoot": True}, user=user)
    secured({"runAsNonRoot": False}, of_pod={"runAsNonRoot": True}, user="0")


def test_capabilities_privilege_and_the_root_file_system() -> None:
    found = secured(
        {
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
            "privileged": True,
            "readOnlyRootFilesystem": True,
            "procMount": "Unmasked",
        }
    )
    assert (found.add_capabilities, found.drop_capabilities) == (("NET_ADMIN",), ("ALL",))
    assert found.privileged and found.readonly_rootfs
    assert found.masked_paths == ()
    assert secured().masked_paths is None


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({}, False),
        ({"allowPrivilegeEscalation": True}, False),
        ({"allowPrivilegeEscalation": False}, True),
        ({"allowPrivilegeEscalation": False, "privileged": True}, False),
        ({"allowPrivilegeEscalation": False, "capabilities": {"add": ["SYS_ADMIN"]}}, True),
    ],
)
def test_no_new_privileges_follows_allow_privilege_escalation(
    context: Json, expected: bool
) -> None:
    assert secured(context).no_new_privs is expected


def test_seccomp_profiles() -> None:
    assert secured().seccomp == SeccompProfile("Unconfined")
    default = {"seccompProfile": {"type": "RuntimeDefault"}}
    assert secured(of_pod=default).seccomp == SeccompProfile("RuntimeDefault")
    assert secured({"privileged": True}, of_pod=default).seccomp == SeccompProfile("Unconfined")
    local = {"seccompProfile": {"type": "Localhost", "localhostProfile": "p/x.json"}}
    expected = SeccompProfile("Localhost", "/var/lib/kubelet/seccomp/p/x.json")
    assert secured(local, of_pod=default).seccomp == expected


@pytest.mark.parametrize("path", ["", "/etc/x", "../x"])
def test_a_seccomp_profile_stays_in_its_folder(path: str) -> None:
    with pytest.raises(ConfigError, match="seccomp profile"):
        secured({"seccompProfile": {"type": "Localhost", "localhostProfile": path}})


def test_apparmor_profiles() -> None:
    assert secured().apparmor == ""
    assert secured({"appArmorProfile": {"type": "Unconfined"}}).apparmor == "unconfined"
    local = {"type": "Localhost", "localhostProfile": "mine"}
    assert secured({"appArmorProfile": local}).apparmor == "localhost/mine"
    old = {"annotations": {"container.apparmor.security.beta.kubernetes.io/main": "localhost/old"}}
    assert configured(container(), metadata=old).security.apparmor == "localhost/old"


@pytest.mark.parametrize(
    ("own", "annotation", "of_pod", "found"),
    [
        ("Unconfined", "localhost/old", "RuntimeDefault", "unconfined"),
        (None, "localhost/old", "Unconfined", "localhost/old"),
        (None, "runtime/default", "Unconfined", ""),
        (None, "unconfined", "RuntimeDefault", "unconfined"),
        (None, "of no kind", "Unconfined", "unconfined"),
        (None, "of no kind", None, ""),
    ],
)
def test_an_annotation_stands_between_the_profiles_of_container_and_pod(
    own: str | None, annotation: str, of_pod: str | None, found: str
) -> None:
    def context(kind: str | None) -> Json:
        return {} if kind is None else {"securityContext": {"appArmorProfile": {"type": kind}}}

    name = "container.apparmor.security.beta.kubernetes.io/main"
    metadata = {"annotations": {name: annotation}}
    config = configured(container(**context(own)), metadata=metadata, **context(of_pod))
    assert config.security.apparmor == found


def test_selinux_options_are_passed_on() -> None:
    whole = {"user": "system_u", "role": "system_r", "type": "spc_t", "level": "s0:c1"}
    assert secured({"seLinuxOptions": whole}).selinux == whole
