"""From a pod to its sandbox: names, network, DNS, ports, cgroup and what all containers share.

Pure. The same pod on the same node gives the same configuration, because the runtime wants it
again for every container. What cannot be configured raises ``SandboxConfigError``.
"""

from __future__ import annotations

from datetime import UTC, datetime

from edgeagent.pods.materials import naming, userids
from edgeagent.pods.model import specs
from edgeagent.pods.model.errors import SandboxConfigError
from edgeagent.pods.model.nodefacts import NodeFacts
from edgeagent.pods.model.paths import PodPaths
from edgeagent.pods.model.podevents import PodEvent
from edgeagent.pods.resources import cgroups, kernel
from edgeagent.runtime.port import (
    LABEL_POD_NAME,
    LABEL_POD_NAMESPACE,
    LABEL_POD_UID,
    IdRange,
    PortMapping,
    Sandbox,
    SandboxConfig,
    SandboxSecurity,
    SeccompProfile,
)
from shared.objects import Json

LABEL_NODE = "kubetide.io/node"
"""Says which agent made a sandbox, where several share one runtime."""

LIST_REVISION = "kubetide.io/list-revision"
"""Revision of the list under which a sandbox was made: an older one says nothing about it."""

HANDLER = "kubetide.io/runtime-handler"
"""By which a sandbox with a RuntimeClass runs: not every runtime says it."""


def sandbox_config(
    pod: Json,
    node: NodeFacts,
    *,
    attempt: int,
    paths: PodPaths,
    seen: float = 0.0,
    first_id: int = 0,
) -> tuple[SandboxConfig, tuple[PodEvent, ...]]:
    """``seen`` is when the agent took the pod up, in seconds since 1970.

    ``first_id`` is that of users of its own, for a pod that asks for them.
    """
    dns, events = naming.dns(pod, node)
    ids = userids.id_range(pod, first_id, node)
    handler = runtime_handler(pod, node)
    config = SandboxConfig(
        name=specs.name_of(pod),
        namespace=specs.namespace_of(pod),
        uid=specs.uid_of(pod),
        attempt=attempt,
        hostname=naming.hostname(pod, node).kernel,
        log_directory=str(paths.log_directory(pod)),
        labels=labels(pod, node),
        annotations=_annotations(pod, seen, ids, handler),
        dns=dns,
        ports=_ports(pod),
        cgroup_parent=cgroups.parent(pod, node.cgroup_driver),
        sysctls=_sysctls(pod),
        security=_security(pod, ids),
        runtime_handler=handler,
        resources=kernel.sandbox_resources(pod),
        overhead=kernel.sandbox_overhead(pod),
    )
    return config, events


def labels(pod: Json, node: NodeFacts) -> dict[str, str]:
    return {
        **(pod["metadata"].get("labels") or {}),
        LABEL_POD_NAME: specs.name_of(pod),
        LABEL_POD_NAMESPACE: specs.namespace_of(pod),
        LABEL_POD_UID: specs.uid_of(pod),
        LABEL_NODE: node.name,
    }


def _annotations(pod: Json, seen: float, ids: IdRange | None, handler: str) -> dict[str, str]:
    stamp = datetime.fromtimestamp(seen, UTC).isoformat(timespec="microseconds")
    return {
        "kubernetes.io/config.source": "api",
        "kubernetes.io/config.seen": stamp.replace("+00:00", "Z"),
        **(pod["metadata"].get("annotations") or {}),
        **({userids.FIRST_ID: str(ids.first)} if ids else {}),
        **({HANDLER: handler} if handler else {}),
    }


def _ports(pod: Json) -> tuple[PortMapping, ...]:
    if specs.on_host_network(pod):
        return ()
    return tuple(
        PortMapping(
            container_port=port["containerPort"],
            host_port=port["hostPort"],
            protocol=port.get("protocol") or "TCP",
            host_ip=port.get("hostIP") or "",
        )
        for container in (*specs.sidecars(pod), *specs.mains(pod))
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


def _sysctls(pod: Json) -> dict[str, str]:
    """Only safe ones come this far (``refusals.py``); a slash is another way to write a dot."""
    wanted = (pod["spec"].get("securityContext") or {}).get("sysctls") or ()
    return {one["name"].replace("/", "."): str(one["value"]) for one in wanted}


def _security(pod: Json, ids: IdRange | None) -> SandboxSecurity:
    spec = pod["spec"]
    context = spec.get("securityContext") or {}
    user = context.get("runAsUser")
    return SandboxSecurity(
        host_network=specs.on_host_network(pod),
        host_pid=bool(spec.get("hostPID")),
        host_ipc=bool(spec.get("hostIPC")),
        share_process_namespace=bool(spec.get("shareProcessNamespace")),
        privileged=any(map(_is_privileged, specs.every_container(pod))),
        run_as_user=user,
        # Runtimes refuse a group without a user; containers get the group by themselves.
        run_as_group=context.get("runAsGroup") if user is not None else None,
        supplemental_groups=groups(pod),
        seccomp=_seccomp(pod),
        selinux=context.get("seLinuxOptions") or {},
        ids=ids,
    )


def _seccomp(pod: Json) -> SeccompProfile:
    """Of the process that holds the sandbox, which does nothing.

    To build the filter is a fifth of the work of a start. Where no container has one, none is
    better confined than that process, and there is nothing to be gained from it; as soon as one
    asks for a profile, the process has that of the runtime, as it always has with a kubelet.
    """
    contexts = [pod["spec"], *specs.every_container(pod)]
    asks = any((one.get("securityContext") or {}).get("seccompProfile") for one in contexts)
    return SeccompProfile("RuntimeDefault" if asks else "Unconfined")


def groups(pod: Json) -> tuple[int, ...]:
    """Supplemental groups of every process of the pod; the owner of its volumes is one."""
    context = pod["spec"].get("securityContext") or {}
    own = [context["fsGroup"]] if context.get("fsGroup") is not None else []
    return tuple(dict.fromkeys([*(context.get("supplementalGroups") or ()), *own]))


def _is_privileged(container: Json) -> bool:
    return bool((container.get("securityContext") or {}).get("privileged"))


def handler_of(sandbox: Sandbox) -> str:
    """Empty for the default one, and for a sandbox of which nobody says it."""
    return sandbox.runtime_handler or sandbox.annotations.get(HANDLER, "")


def runtime_handler(pod: Json, node: NodeFacts) -> str:
    """Raises SandboxConfigError in a kubelet's words."""
    name = specs.runtime_class(pod)
    found = node.handler(name)
    if found is None:
        words = f'RuntimeClass "{name}" not found'
        if handler := node.runtime_classes.get(name):
            words = f'no runtime for "{handler}" is configured'
        raise SandboxConfigError(f"failed to get sandbox runtime: {words}")
    return found.name
