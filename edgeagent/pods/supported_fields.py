"""Every field of a pod's spec: its shape, and what this agent makes of it. Data, no behaviour.

``docs/pod-support.md`` shows this table, and a test compares it with the current API, so a field
is never forgotten. Shapes are words for plain values, the name of another table entry, or one of
those in brackets for a list. ``supported.py`` reads it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.Enum):
    SUPPORTED = "supported"
    REFUSED = "refused"
    """A pod that sets it is not taken up; ``note`` is the message."""
    TOLD = "told"
    """The pod runs without it and an Event says so; ``note`` is the message."""
    IDLE = "no effect"
    """It means nothing on a node, or nothing here; ``note`` says why."""


@dataclass(frozen=True, slots=True)
class Field:
    shape: str
    verdict: Verdict = Verdict.SUPPORTED
    note: str = ""
    required: bool = False
    values: tuple[object, ...] = ()
    """Set for a field that is supported with these values only."""


def yes(shape: str, note: str = "") -> Field:
    return Field(shape, note=note)


def must(shape: str) -> Field:
    return Field(shape, required=True)


def only(*values: object, shape: str = "text", note: str = "") -> Field:
    """Supported with these values, refused with any other."""
    return Field(shape, note=note, values=values)


def no(shape: str, message: str) -> Field:
    return Field(shape, Verdict.REFUSED, message)


def told(shape: str, message: str) -> Field:
    return Field(shape, Verdict.TOLD, message)


def idle(shape: str, why: str) -> Field:
    return Field(shape, Verdict.IDLE, why)


_SCHEDULER = "the scheduler's business, done before the pod comes here"
_WINDOWS = "Linux nodes ignore it"
_NO_STORAGE = "this kind of volume is not supported on edge nodes"
_EPHEMERAL = "the API does not allow it for ephemeral containers"

_OTHER_STORAGE = (
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "iscsi",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
)

_CONTAINER = {
    "name": must("label"),
    "image": yes("text"),
    "command": yes("[text]"),
    "args": yes("[text]"),
    "workingDir": yes("text"),
    "ports": yes("[ContainerPort]"),
    "envFrom": yes("[EnvFromSource]"),
    "env": yes("[EnvVar]"),
    "resources": yes("Resources"),
    "resizePolicy": yes("[ResizePolicy]"),
    "restartPolicy": only("Always", "OnFailure", "Never"),
    "restartPolicyRules": yes("[RestartRule]"),
    "volumeMounts": yes("[VolumeMount]"),
    "volumeDevices": no("any", "raw block volumes are not supported on edge nodes"),
    "livenessProbe": yes("Probe"),
    "readinessProbe": yes("Probe"),
    "startupProbe": yes("Probe"),
    "lifecycle": yes("Lifecycle"),
    "terminationMessagePath": yes("text"),
    "terminationMessagePolicy": only("File", "FallbackToLogsOnError"),
    "imagePullPolicy": only("Always", "IfNotPresent", "Never"),
    "securityContext": yes("SecurityContext"),
    "stdin": yes("flag"),
    "stdinOnce": yes("flag"),
    "tty": yes("flag"),
}

_HANDLERS = {
    "exec": yes("ExecAction"),
    "httpGet": yes("HTTPGetAction"),
    "tcpSocket": yes("TCPSocketAction"),
}

TABLE: dict[str, dict[str, Field]] = {
    "PodSpec": {
        "volumes": yes("[Volume]"),
        "initContainers": yes("[Container]", "with restartPolicy Always: sidecars"),
        "containers": must("[Container]"),
        "ephemeralContainers": yes("[EphemeralContainer]"),
        "restartPolicy": only("Always", "OnFailure", "Never"),
        "terminationGracePeriodSeconds": yes("number"),
        "activeDeadlineSeconds": yes("number"),
        "dnsPolicy": only("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
        "nodeSelector": yes("texts", "a label that is known to differ refuses the pod"),
        "serviceAccountName": yes("text"),
        "serviceAccount": idle("text", "old name of serviceAccountName"),
        "automountServiceAccountToken": idle("flag", "the API server acts on it"),
        "nodeName": yes("text"),
        "hostNetwork": yes("flag"),
        "hostPID": yes("flag"),
        "hostIPC": yes("flag"),
        "shareProcessNamespace": yes("flag"),
        "securityContext": yes("PodSecurityContext"),
        "imagePullSecrets": yes("[LocalReference]"),
        "hostname": yes("text"),
        "subdomain": yes("text"),
        "affinity": yes("Affinity"),
        "schedulerName": idle("text", _SCHEDULER),
        "tolerations": idle("any", "edge nodes evict nothing for taints by themselves"),
        "hostAliases": yes("[HostAlias]"),
        "priorityClassName": idle("text", "priority is what counts"),
        "priority": yes("number", "orders the OOM score of critical pods"),
        "dnsConfig": yes("DNSConfig"),
        "readinessGates": yes("[ReadinessGate]"),
        "runtimeClassName": yes("text", "the runtime's handler of the same name"),
        "enableServiceLinks": idle("flag", "Services are not on the device; only KUBERNETES_* are"),
        "preemptionPolicy": idle("text", _SCHEDULER),
        "overhead": yes("amounts", "counts at admission"),
        "topologySpreadConstraints": idle("any", _SCHEDULER),
        "setHostnameAsFQDN": yes("flag"),
        "os": yes("OS"),
        "hostUsers": only(True, shape="flag", note="user namespaces are not supported here yet"),
        "schedulingGates": idle("any", _SCHEDULER),
        "resourceClaims": no("any", "dynamic resource allocation is not supported on edge nodes"),
        "resources": no("Resources", "pod-level resources are not supported on edge nodes yet"),
        "hostnameOverride": yes("text"),
        "workloadRef": idle("any", _SCHEDULER),
        "schedulingGroup": idle("any", _SCHEDULER),
        "evictionResponders": idle("any", "consulted by the control plane before an eviction"),
    },
    "Container": _CONTAINER,
    "EphemeralContainer": {
        **_CONTAINER,
        "targetContainerName": told("text", "its processes are in a namespace of their own here"),
        "ports": idle("any", _EPHEMERAL),
        "lifecycle": idle("any", _EPHEMERAL),
        "livenessProbe": idle("any", _EPHEMERAL),
        "readinessProbe": idle("any", _EPHEMERAL),
        "startupProbe": idle("any", _EPHEMERAL),
        "resources": idle("any", _EPHEMERAL),
        "resizePolicy": idle("any", _EPHEMERAL),
        "restartPolicy": idle("any", _EPHEMERAL),
        "restartPolicyRules": idle("any", _EPHEMERAL),
    },
    "ContainerPort": {
        "name": idle("text", "read by probes and Services"),
        "containerPort": must("number"),
        "hostPort": yes("number"),
        "hostIP": yes("text"),
        "protocol": only("TCP", "UDP", "SCTP"),
    },
    "EnvVar": {
        "name": must("text"),
        "value": yes("text"),
        "valueFrom": yes("EnvVarSource"),
    },
    "EnvVarSource": {
        "fieldRef": yes("FieldRef"),
        "resourceFieldRef": yes("ResourceFieldRef"),
        "configMapKeyRef": yes("KeyRef"),
        "secretKeyRef": yes("KeyRef"),
        "fileKeyRef": yes("FileKeyRef"),
    },
    "FieldRef": {"apiVersion": idle("text", "v1 is the only one"), "fieldPath": must("text")},
    "ResourceFieldRef": {
        "containerName": yes("text"),
        "resource": must("text"),
        "divisor": yes("amount"),
    },
    "KeyRef": {"name": yes("text"), "key": must("text"), "optional": yes("flag")},
    "FileKeyRef": {
        "volumeName": must("text"),
        "path": must("text"),
        "key": must("text"),
        "optional": yes("flag"),
    },
    "EnvFromSource": {
        "prefix": yes("text"),
        "configMapRef": yes("ObjectRef"),
        "secretRef": yes("ObjectRef"),
    },
    "ObjectRef": {"name": yes("text"), "optional": yes("flag")},
    "LocalReference": {"name": yes("text")},
    "Resources": {
        "limits": yes("amounts"),
        "requests": yes("amounts"),
        "claims": no("any", "dynamic resource allocation is not supported on edge nodes"),
    },
    "ResizePolicy": {"resourceName": must("text"), "restartPolicy": must("text")},
    "RestartRule": {
        "action": only("Restart", "RestartAllContainers"),
        "exitCodes": yes("ExitCodes"),
    },
    "ExitCodes": {"operator": only("In", "NotIn"), "values": yes("[number]")},
    "VolumeMount": {
        "name": must("text"),
        "mountPath": must("text"),
        "readOnly": yes("flag"),
        "recursiveReadOnly": only("Disabled", "IfPossible", "Enabled"),
        "subPath": yes("text"),
        "subPathExpr": yes("text"),
        "mountPropagation": only("None", "HostToContainer", "Bidirectional"),
        "bindMountOptions": no("any", "bind mount options are not supported on edge nodes"),
    },
    "Probe": {
        **_HANDLERS,
        "grpc": yes("GRPCAction"),
        "initialDelaySeconds": yes("number"),
        "timeoutSeconds": yes("number"),
        "periodSeconds": yes("number"),
        "successThreshold": yes("number"),
        "failureThreshold": yes("number"),
        "terminationGracePeriodSeconds": yes("number"),
    },
    "Lifecycle": {
        "postStart": yes("Handler"),
        "preStop": yes("Handler"),
        "stopSignal": yes("text"),
    },
    "Handler": {**_HANDLERS, "sleep": yes("Sleep")},
    "ExecAction": {"command": yes("[text]")},
    "HTTPGetAction": {
        "path": yes("text"),
        "port": must("port"),
        "host": yes("text"),
        "scheme": only("HTTP", "HTTPS"),
        "protocol": only("HTTP1"),
        "httpHeaders": yes("[HTTPHeader]"),
    },
    "HTTPHeader": {"name": must("text"), "value": yes("text")},
    "TCPSocketAction": {"port": must("port"), "host": yes("text")},
    "GRPCAction": {
        "port": must("number"),
        "service": yes("text"),
        "mode": only("Plaintext"),
    },
    "Sleep": {"seconds": yes("number")},
    "SecurityContext": {
        "capabilities": yes("Capabilities"),
        "privileged": yes("flag"),
        "seLinuxOptions": yes("SELinuxOptions"),
        "windowsOptions": idle("any", _WINDOWS),
        "runAsUser": yes("number"),
        "runAsGroup": yes("number"),
        "runAsNonRoot": yes("flag"),
        "readOnlyRootFilesystem": yes("flag"),
        "allowPrivilegeEscalation": yes("flag"),
        "procMount": only("Default", "Unmasked"),
        "seccompProfile": yes("Profile"),
        "appArmorProfile": yes("Profile"),
    },
    "PodSecurityContext": {
        "seLinuxOptions": yes("SELinuxOptions"),
        "windowsOptions": idle("any", _WINDOWS),
        "runAsUser": yes("number"),
        "runAsGroup": yes("number"),
        "runAsNonRoot": yes("flag"),
        "supplementalGroups": yes("[number]"),
        "supplementalGroupsPolicy": only("Merge", "Strict"),
        "fsGroup": yes("number"),
        "sysctls": yes("[Sysctl]", "the safe ones"),
        "fsGroupChangePolicy": idle("text", "no volume here outlives its pod"),
        "seccompProfile": yes("Profile"),
        "appArmorProfile": yes("Profile"),
        "seLinuxChangePolicy": idle("text", "the runtime relabels"),
    },
    "Capabilities": {"add": yes("[text]"), "drop": yes("[text]")},
    "SELinuxOptions": {
        "user": yes("text"),
        "role": yes("text"),
        "type": yes("text"),
        "level": yes("text"),
    },
    "Profile": {
        "type": only("RuntimeDefault", "Unconfined", "Localhost"),
        "localhostProfile": yes("text"),
    },
    "Sysctl": {"name": must("text"), "value": yes("text")},
    "HostAlias": {"ip": must("text"), "hostnames": yes("[text]")},
    "DNSConfig": {
        "nameservers": yes("[text]"),
        "searches": yes("[text]"),
        "options": yes("[DNSOption]"),
    },
    "DNSOption": {"name": must("text"), "value": yes("text")},
    "ReadinessGate": {"conditionType": must("text")},
    "OS": {"name": yes("text", "linux; anything else is PodOSNotSupported")},
    "Affinity": {
        "nodeAffinity": yes("NodeAffinity"),
        "podAffinity": idle("any", _SCHEDULER),
        "podAntiAffinity": idle("any", _SCHEDULER),
    },
    "NodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": yes("NodeSelector"),
        "preferredDuringSchedulingIgnoredDuringExecution": idle("any", _SCHEDULER),
    },
    "NodeSelector": {"nodeSelectorTerms": yes("[NodeSelectorTerm]")},
    "NodeSelectorTerm": {
        "matchExpressions": yes("[Requirement]"),
        "matchFields": yes("[Requirement]"),
    },
    "Requirement": {"key": must("text"), "operator": must("text"), "values": yes("[text]")},
    "Volume": {
        "name": must("label"),
        "emptyDir": yes("EmptyDir"),
        "hostPath": yes("HostPath"),
        "configMap": yes("KeysVolume"),
        "secret": yes("SecretVolume"),
        "downwardAPI": yes("DownwardVolume"),
        "projected": yes("ProjectedVolume"),
        "image": no("any", "image volumes are not supported on edge nodes yet"),
        "persistentVolumeClaim": no("any", "claims are not supported on edge nodes yet"),
        "ephemeral": no("any", _NO_STORAGE),
        "csi": no("any", _NO_STORAGE),
        **{kind: no("any", _NO_STORAGE) for kind in _OTHER_STORAGE},
    },
    "EmptyDir": {
        "medium": only("", "Memory"),
        "sizeLimit": yes(
            "amount", "in memory: the size of the file system; on disk: told, not enforced yet"
        ),
        "mode": yes("number"),
    },
    "HostPath": {"path": must("text"), "type": yes("text")},
    "KeysVolume": {
        "name": yes("text"),
        "items": yes("[KeyToPath]"),
        "defaultMode": yes("number"),
        "defaultUser": yes("number"),
        "optional": yes("flag"),
    },
    "SecretVolume": {
        "secretName": yes("text"),
        "items": yes("[KeyToPath]"),
        "defaultMode": yes("number"),
        "defaultUser": yes("number"),
        "optional": yes("flag"),
    },
    "KeyToPath": {
        "key": must("text"),
        "path": must("text"),
        "mode": yes("number"),
        "user": yes("number"),
    },
    "DownwardVolume": {
        "items": yes("[DownwardFile]"),
        "defaultMode": yes("number"),
        "defaultUser": yes("number"),
    },
    "DownwardFile": {
        "path": must("text"),
        "fieldRef": yes("FieldRef"),
        "resourceFieldRef": yes("ResourceFieldRef"),
        "mode": yes("number"),
        "user": yes("number"),
    },
    "ProjectedVolume": {
        "sources": yes("[Projection]"),
        "defaultMode": yes("number"),
        "defaultUser": yes("number"),
    },
    "Projection": {
        "configMap": yes("KeysProjection"),
        "secret": yes("KeysProjection"),
        "downwardAPI": yes("DownwardProjection"),
        "serviceAccountToken": yes("TokenProjection"),
        "clusterTrustBundle": no("any", "trust bundles are not supported on edge nodes"),
        "podCertificate": no("any", "pod certificates are not supported on edge nodes"),
    },
    "KeysProjection": {
        "name": yes("text"),
        "items": yes("[KeyToPath]"),
        "optional": yes("flag"),
    },
    "DownwardProjection": {"items": yes("[DownwardFile]")},
    "TokenProjection": {
        "audience": yes("text"),
        "expirationSeconds": yes("number"),
        "path": must("text"),
        "user": yes("number"),
    },
}
