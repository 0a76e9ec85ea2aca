"""Writes docs/pod-support.md from the agent's own table of fields: ``python -m tools.pod_support``.

A test fails when the page and the table differ, so nobody edits the page by hand.
"""

from __future__ import annotations

from pathlib import Path

from edgeagent.pods.admission.supported_fields import TABLE
from edgeagent.pods.admission.verdicts import Field

PAGE = Path(__file__).parents[1] / "docs/pod-support.md"

_HEAD = """# What of a pod an edge node supports

Every field of `PodSpec` and of what stands below it in the current API, and of the
PersistentVolumes that a pod's claims are bound to. Written by
`python -m tools.pod_support` from the table that the agent itself goes by; change it there.

- **supported**: works as the Kubernetes documentation says; with a list of values: with these.
- **refused**: a pod that sets it is not taken up. Its status is `Failed` with reason
  `UnsupportedPodField`, and the message quoted here. A pod with a PersistentVolume that sets it
  waits, with an Event `FailedMount`.
- **told**: the pod runs without it; an Event `UnsupportedField` quotes the message.
- **no effect**: means nothing on a node, or nothing on an edge node, for the reason given.

A field that the agent does not know (from a newer API) is told in the same way, never ignored.
Static pods may use nothing that only the API server has: [static pods](static-pods.md).
"""

_MATERIALS = "tests/edge_materials"
_PODS = "tests/edge_pods"
_HOUSE = "tests/edge_housekeeping"
_WHOLE = "tests/e2e"
_ENVIRONMENT = f"{_MATERIALS}/test_environment.py"
_CLAIMS = f"{_MATERIALS}/test_claims.py"
_CLAIMS_ON_DISK = f"{_MATERIALS}/test_claims_on_disk.py"
SHOWN_BY = {
    "PodSpec": (_MATERIALS, _PODS, f"{_WHOLE}/test_readiness_gates.py"),
    "Container": (
        f"{_MATERIALS}/test_containers.py",
        f"{_MATERIALS}/test_environment_on_containerd.py",
        f"{_MATERIALS}/test_claims_on_containerd.py",
        _PODS,
    ),
    "EphemeralContainer": (_PODS, f"{_MATERIALS}/test_containers.py", _ENVIRONMENT, _CLAIMS),
    "ContainerPort": (f"{_MATERIALS}/test_sandboxes.py", f"{_MATERIALS}/test_admission.py"),
    "Env": (_ENVIRONMENT, f"{_MATERIALS}/test_environment_on_containerd.py"),
    "Resources": (f"{_MATERIALS}/test_resources.py", f"{_HOUSE}/test_deciding.py"),
    "ResizePolicy": (_PODS,),
    "RestartRule": (_PODS,),
    "ExitCodes": (_PODS,),
    "VolumeMount": (f"{_MATERIALS}/test_mounts.py", f"{_MATERIALS}/test_subpaths.py"),
    "Probe": (_PODS, f"{_MATERIALS}/test_supported.py"),
    "Lifecycle": (_PODS,),
    "Security": (
        f"{_MATERIALS}/test_containers.py",
        f"{_MATERIALS}/test_security_on_containerd.py",
        _CLAIMS_ON_DISK,
    ),
    "Names": (f"{_MATERIALS}/test_names.py",),
    "Place": (f"{_MATERIALS}/test_admission.py",),
    "ReadinessGate": (f"{_WHOLE}/test_readiness_gates.py",),
    "Volume": (
        f"{_MATERIALS}/test_volumes.py",
        f"{_MATERIALS}/test_empty_dirs.py",
        f"{_MATERIALS}/test_volumes_on_containerd.py",
        *(_CLAIMS, _CLAIMS_ON_DISK),
        f"{_HOUSE}/test_on_containerd.py",
    ),
    "ImageVolume": (
        f"{_PODS}/test_image_volumes_on_containerd.py",
        f"{_MATERIALS}/test_admission.py",
    ),
    "Claims": (_CLAIMS, _CLAIMS_ON_DISK, f"{_MATERIALS}/test_claims_on_containerd.py"),
    "Files": (f"{_MATERIALS}/test_volume_contents.py",),
    "Images": (f"{_MATERIALS}/test_images.py", f"{_MATERIALS}/test_references.py"),
}
"""Group of tables → where its behaviour is shown."""

_GROUPS = {
    "Env": ("EnvVar", "EnvVarSource", "KeyRef", "FileKeyRef", "EnvFromSource", "ObjectRef"),
    "Probe": ("HTTPGetAction", "HTTPHeader", "TCPSocketAction", "GRPCAction"),
    "Lifecycle": ("Handler", "ExecAction", "Sleep"),
    "Security": ("SecurityContext", "PodSecurityContext", "Capabilities", "SELinuxOptions",
                 "Profile", "Sysctl"),
    "Names": ("HostAlias", "DNSConfig", "DNSOption"),
    "Place": ("OS", "Affinity", "NodeAffinity", "NodeSelector", "NodeSelectorTerm", "Requirement",
              "Toleration"),
    "Volume": ("EmptyDir", "HostPath"),
    "Claims": ("ClaimVolume", "EphemeralVolume", "PersistentVolumeSpec", "LocalVolume",
               "VolumeNodeAffinity", "VolumeDevice"),
    "Files": ("KeysVolume", "SecretVolume", "KeyToPath", "DownwardVolume", "DownwardFile",
              "ProjectedVolume", "Projection", "KeysProjection", "DownwardProjection",
              "TokenProjection", "FieldRef", "ResourceFieldRef"),
    "Images": ("LocalReference",),
}  # fmt: skip


def page() -> str:
    return _HEAD + "".join(_section(name, fields) for name, fields in TABLE.items())


def shown_by(name: str) -> tuple[str, ...]:
    group = next((group for group, names in _GROUPS.items() if name in names), name)
    return SHOWN_BY[group]


def _section(name: str, fields: dict[str, Field]) -> str:
    tests = ", ".join(f"`{path}`" for path in shown_by(name))
    rows = "".join(_row(field, entry) for field, entry in fields.items())
    return f"\n## {name}\n\nShown by {tests}.\n\n| field | | |\n|---|---|---|\n{rows}"


def _row(name: str, field: Field) -> str:
    values = ", ".join(f"`{value}`" for value in field.values if value != "")
    note = "; ".join(part for part in (values, field.note) if part)
    return f"| `{name}` | {field.verdict.value} | {note} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
