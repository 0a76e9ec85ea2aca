"""securityContext of pod and container together, as one container's security.

Pure. The container's word beats the pod's. Who a container runs as depends on its image too:
``runAsNonRoot`` is checked against the image's user, in a kubelet's words.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeagent.pods.materials import sandboxes
from edgeagent.pods.model import specs
from edgeagent.pods.model.errors import ConfigError
from edgeagent.runtime.port import ContainerSecurity, SeccompProfile
from shared.objects import Json

SECCOMP_ROOT = "/var/lib/kubelet/seccomp"
"""Where profiles of type Localhost are found, as on any node."""


def container_security(
    pod: Json,
    container: Json,
    *,
    image_user: str,
    volume_groups: Sequence[int] = (),
) -> ContainerSecurity:
    context = effective(pod, container)
    user, username = _user(context, image_user)
    if context.get("runAsNonRoot"):
        _verify_not_root(pod, container, user=user, username=username)
    capabilities = context.get("capabilities") or {}
    privileged = bool(context.get("privileged"))
    return ContainerSecurity(
        privileged=privileged,
        run_as_user=user,
        run_as_username=username,
        run_as_group=context.get("runAsGroup"),
        supplemental_groups=tuple(dict.fromkeys([*sandboxes.groups(pod), *volume_groups])),
        supplemental_groups_policy=context.get("supplementalGroupsPolicy") or "Merge",
        readonly_rootfs=bool(context.get("readOnlyRootFilesystem")),
        no_new_privs=_no_new_privs(context, privileged=privileged),
        add_capabilities=tuple(capabilities.get("add") or ()),
        drop_capabilities=tuple(capabilities.get("drop") or ()),
        seccomp=_seccomp(context, privileged=privileged),
        apparmor=_apparmor(pod, container),
        selinux=context.get("seLinuxOptions") or {},
        masked_paths=() if context.get("procMount") == "Unmasked" else None,
    )


def effective(pod: Json, container: Json) -> Json:
    """Both contexts merged; null in the container's does not hide the pod's."""
    own = container.get("securityContext") or {}
    return {
        **(pod["spec"].get("securityContext") or {}),
        **{field: value for field, value in own.items() if value is not None},
    }


def _user(context: Json, image_user: str) -> tuple[int | None, str]:
    """Uid or name; neither when nobody says anything: then it is whatever the runtime starts as.

    Runtimes refuse a group without a user, so with a group that user is named: root.
    """
    if context.get("runAsUser") is not None:
        return int(context["runAsUser"]), ""
    name = image_user.partition(":")[0]
    if name:
        return (int(name), "") if name.isdecimal() else (None, name)
    return (None if context.get("runAsGroup") is None else 0), ""


def _verify_not_root(pod: Json, container: Json, *, user: int | None, username: str) -> None:
    where = f'(pod: "{specs.title(pod)}", container: {container["name"]})'
    if username:
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({username}),"
            f" cannot verify user is non-root {where}"
        )
    if user == 0 and effective(pod, container).get("runAsUser") is not None:
        raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
    if not user:
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")


def _no_new_privs(context: Json, *, privileged: bool) -> bool:
    """``allowPrivilegeEscalation: false``, whatever capabilities are added, as on a kubelet."""
    return context.get("allowPrivilegeEscalation") is False and not privileged


def _seccomp(context: Json, *, privileged: bool) -> SeccompProfile:
    profile = context.get("seccompProfile")
    if privileged or profile is None:
        return SeccompProfile("Unconfined")
    kind = profile.get("type", "")
    if kind in ("RuntimeDefault", "Unconfined"):
        return SeccompProfile(kind)
    path = str(profile.get("localhostProfile") or "")
    if kind != "Localhost" or not path or path.startswith("/") or ".." in path.split("/"):
        raise ConfigError(f"seccomp profile {kind}/{path:.200} is not valid")
    return SeccompProfile("Localhost", f"{SECCOMP_ROOT}/{path}")


_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


def wants_apparmor(pod: Json) -> bool:
    """Whether anybody in it names a profile, be it the runtime's own, that a kernel must enforce;
    that of the pod counts also where each container has one of its own."""
    fields = (_apparmor_field(one) for one in (pod["spec"], *specs.every_container(pod)))
    annotations = pod["metadata"].get("annotations") or {}
    old = (value for key, value in annotations.items() if key.startswith(_APPARMOR_ANNOTATION))
    return any(one.get("type") != "Unconfined" for one in fields if one) or any(
        value != "unconfined" for value in old
    )


def _apparmor_field(owner: Json) -> Json:
    return (owner.get("securityContext") or {}).get("appArmorProfile") or {}


def _annotated_apparmor(pod: Json, container: Json) -> Json:
    """As older manifests name it, static pods above all; any other value is none."""
    annotations = pod["metadata"].get("annotations") or {}
    value = str(annotations.get(_APPARMOR_ANNOTATION + container["name"], ""))
    if value.startswith("localhost/"):
        return {"type": "Localhost", "localhostProfile": value.removeprefix("localhost/")}
    kinds = {"runtime/default": "RuntimeDefault", "unconfined": "Unconfined"}
    return {"type": kinds[value]} if value in kinds else {}


def _apparmor(pod: Json, container: Json) -> str:
    profile = (
        _apparmor_field(container)
        or _annotated_apparmor(pod, container)
        or _apparmor_field(pod["spec"])
    )
    if profile.get("type") == "Localhost":
        return f"localhost/{profile.get('localhostProfile', '')}"
    return "unconfined" if profile.get("type") == "Unconfined" else ""
