"""The preset compression dictionary of wire version 1: what pods and statuses have in common.

Both ends must hold the same bytes, so this never changes within a released version (a test pins its
hash). Deflate finds short distances cheapest and copies whole runs, so the most frequent messages
stand at the end, complete and with their fields in the order in which they are really sent.
"""

from __future__ import annotations

from typing import Any

import msgpack

_RARE: dict[str, Any] = {
    "annotations": {"kubetide.io/": "", "prometheus.io/scrape": "true"},
    "generateName": "",
    "ownerReferences": [
        {
            "apiVersion": "apps/v1",
            "blockOwnerDeletion": True,
            "controller": True,
            "kind": "ReplicaSet",
            "name": "",
            "uid": "",
        },
        {"kind": "DaemonSet"},
        {"kind": "StatefulSet"},
        {"apiVersion": "batch/v1", "kind": "Job"},
    ],
    "finalizers": [],
    "immutable": True,
    "type": "Opaque",
    "data": {"config.yaml": "", "ca.crt": "", "tls.crt": "", "tls.key": "", "token": ""},
    "stringData": {},
    "binaryData": {},
    "spec": {
        "initContainers": [],
        "ephemeralContainers": [],
        "hostNetwork": True,
        "hostPID": True,
        "hostIPC": True,
        "hostname": "",
        "subdomain": "",
        "hostAliases": [{"ip": "127.0.0.1", "hostnames": []}],
        "activeDeadlineSeconds": 600,
        "automountServiceAccountToken": False,
        "shareProcessNamespace": True,
        "runtimeClassName": "",
        "priorityClassName": "system-node-critical",
        "imagePullSecrets": [{"name": ""}],
        "readinessGates": [{"conditionType": ""}],
        "dnsConfig": {"nameservers": [], "searches": [], "options": []},
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {
                            "matchFields": [
                                {"key": "metadata.name", "operator": "In", "values": []}
                            ],
                            "matchExpressions": [{"key": "", "operator": "NotIn", "values": []}],
                        }
                    ]
                }
            }
        },
        "volumes": [
            {"name": "", "hostPath": {"path": "/var/run", "type": "DirectoryOrCreate"}},
            {"name": "", "emptyDir": {"medium": "Memory", "sizeLimit": ""}},
            {"name": "", "configMap": {"name": "", "defaultMode": 420, "optional": True}},
            {"name": "", "secret": {"secretName": "", "defaultMode": 420, "items": []}},
            {"name": "", "persistentVolumeClaim": {"claimName": ""}},
            {"name": "", "downwardAPI": {"items": [{"path": "", "fieldRef": {}}]}},
            {
                "name": "kube-api-access-",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                        {
                            "configMap": {
                                "name": "kube-root-ca.crt",
                                "items": [{"key": "ca.crt", "path": "ca.crt"}],
                            }
                        },
                        {
                            "downwardAPI": {
                                "items": [
                                    {
                                        "path": "namespace",
                                        "fieldRef": {
                                            "apiVersion": "v1",
                                            "fieldPath": "metadata.namespace",
                                        },
                                    }
                                ]
                            }
                        },
                    ],
                    "defaultMode": 420,
                },
            },
        ],
        "containers": [
            {
                "envFrom": [{"prefix": "", "configMapRef": {"name": ""}}, {"secretRef": {}}],
                "env": [
                    {"name": "", "valueFrom": {"configMapKeyRef": {"name": "", "key": ""}}},
                    {"name": "", "valueFrom": {"secretKeyRef": {"name": "", "key": ""}}},
                    {
                        "name": "NODE_NAME",
                        "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}},
                    },
                    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                ],
                "livenessProbe": {
                    "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
                    "initialDelaySeconds": 10,
                    "timeoutSeconds": 1,
                    "periodSeconds": 10,
                    "successThreshold": 1,
                    "failureThreshold": 3,
                },
                "readinessProbe": {"exec": {"command": []}, "tcpSocket": {"port": 80}},
                "startupProbe": {"grpc": {"port": 9090, "service": ""}},
                "lifecycle": {"preStop": {"sleep": {"seconds": 5}}, "postStart": {"exec": {}}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
                    "privileged": True,
                    "readOnlyRootFilesystem": True,
                    "runAsNonRoot": True,
                    "runAsUser": 1000,
                    "runAsGroup": 1000,
                    "fsGroup": 1000,
                    "supplementalGroups": [],
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "volumeMounts": [
                    {
                        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                        "name": "",
                        "readOnly": True,
                        "subPath": "",
                        "mountPropagation": "HostToContainer",
                    }
                ],
                "workingDir": "",
                "imagePullPolicy": "Always",
            }
        ],
    },
}

_TIME = "2026-01-01T00:00:00Z"

_TERMINATED: dict[str, Any] = {
    "exitCode": 0,
    "reason": "Completed",
    "startedAt": _TIME,
    "finishedAt": _TIME,
    "containerID": "containerd://",
}

_STATES: list[Any] = [
    {"waiting": {"reason": "ErrImagePull", "message": "rpc error: code = "}},
    {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image "}},
    {"waiting": {"reason": "CreateContainerConfigError", "message": ""}},
    {"waiting": {"reason": "PodInitializing"}},
    {"waiting": {"reason": "ContainerCreating"}},
    {
        "waiting": {
            "reason": "CrashLoopBackOff",
            "message": "back-off 10s restarting failed container=",
        }
    },
    {"terminated": {**_TERMINATED, "exitCode": 137, "reason": "OOMKilled"}},
    {"terminated": {**_TERMINATED, "exitCode": 1, "reason": "Error"}},
]

_WORDS: list[Any] = [
    ["message", "containers with unready status: [", "reason", "ContainersNotReady"],
    ["phase", "Failed", "Pending", "reason", "Evicted", "DeadlineExceeded", "PodFailed"],
    ["initContainerStatuses", "resources", "allocatedResources", "volumeMounts"],
    ["Warning", "MissingClusterDNS", 'pod: "'],
    "_default(",
    ')". kubelet does not have ClusterDNS IP configured and cannot create Pod using '
    '"ClusterFirst" policy. Falling back to "Default" policy.',
    ["Warning", "FailedMount", 'MountVolume.SetUp failed for volume "'],
    ["Warning", "Failed", "Error: ErrImagePull"],
    ["Warning", "BackOff", "Back-off restarting failed container "],
    ["Warning", "Unhealthy", "Readiness probe failed: "],
    ["Normal", "Pulling", 'Pulling image "'],
    ["Normal", "Pulled", 'Successfully pulled image "'],
    ["Normal", "Killing", "Container app failed liveness probe, will be restarted"],
]


def _condition(kind: str, status: str, reason: str = "") -> Any:
    about = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": _TIME}
    return {**about, "reason": reason} if reason else about


def _report(
    *, finished: bool, phase: str, events: list[Any], conditions: list[Any], container: Any
) -> Any:
    """A report of a pod with one container, as ``messages.Report`` sends it."""
    state, ready = container
    return {
        "k": "Pod/default/app",
        "u": "",
        "n": 0,
        "a": 0,
        "f": finished,
        "e": events,
        "s": {
            "startTime": _TIME,
            "qosClass": "BestEffort",
            "observedGeneration": 1,
            "phase": phase,
            "conditions": conditions,
            "hostIP": "192.168.1.1",
            "hostIPs": [{"ip": "192.168.1.1"}],
            "podIP": "10.244.0.1",
            "podIPs": [{"ip": "10.244.0.1"}],
            "containerStatuses": [
                {
                    "name": "app",
                    "state": state,
                    "lastState": {},
                    "ready": ready,
                    "restartCount": 0,
                    "image": "docker.io/library/",
                    "imageID": "sha256:",
                    "started": ready,
                    "containerID": "containerd://",
                }
            ],
        },
    }


_EVENTS: list[Any] = [
    ["Normal", "Pulled", 'Container image "docker.io/library/', "spec.containers{app}", 0, 0, 1],
    '" already present on machine and can be accessed by the pod',
    ["Normal", "Created", "Created container: app", "spec.containers{app}", 0, 0, 1],
    ["Normal", "Started", "Started container app", "spec.containers{app}", 0, 0, 1],
]

_FINISHED = _report(
    finished=True,
    phase="Succeeded",
    events=[*_EVENTS, ["Normal", "Killing", "Stopping container app", "", 0, 0, 1]],
    conditions=[
        _condition("PodReadyToStartContainers", "False"),
        _condition("Initialized", "True", "PodCompleted"),
        _condition("Ready", "False", "PodCompleted"),
        _condition("ContainersReady", "False", "PodCompleted"),
    ],
    container=({"terminated": _TERMINATED}, False),
)

_RUNNING = _report(
    finished=False,
    phase="Running",
    events=_EVENTS,
    conditions=[
        _condition("PodReadyToStartContainers", "True"),
        _condition("Initialized", "True"),
        _condition("Ready", "True"),
        _condition("ContainersReady", "True"),
    ],
    container=({"running": {"startedAt": _TIME}}, True),
)


def _tolerated(taint: str) -> Any:
    key = f"node.kubernetes.io/{taint}"
    return {"effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": 300}


_POD: dict[str, Any] = {
    "metadata": {
        "creationTimestamp": _TIME,
        "generateName": "",
        "generation": 1,
        "labels": {"app": "", "pod-template-hash": ""},
        "name": "",
        "namespace": "default",
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "blockOwnerDeletion": True,
                "controller": True,
                "kind": "ReplicaSet",
                "name": "",
                "uid": "",
            }
        ],
        "uid": "",
    },
    "spec": {
        "automountServiceAccountToken": False,
        "containers": [
            {
                "args": [],
                "command": ["sh", "-c", ""],
                "env": [{"name": "", "value": ""}],
                "image": "docker.io/library/",
                "imagePullPolicy": "IfNotPresent",
                "name": "app",
                "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}],
                "resources": {
                    "limits": {"cpu": "100m", "memory": "128Mi"},
                    "requests": {"cpu": "100m", "memory": "64Mi"},
                },
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "volumeMounts": [
                    {
                        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                        "name": "kube-api-access-",
                        "readOnly": True,
                    }
                ],
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "nodeName": "",
        "nodeSelector": {"node-role.kubernetes.io/edge": ""},
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 30,
        "tolerations": [_tolerated("not-ready"), _tolerated("unreachable")],
        "volumes": [
            {
                "name": "kube-api-access-",
                "projected": {
                    "defaultMode": 420,
                    "sources": [
                        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                        {
                            "configMap": {
                                "items": [{"key": "ca.crt", "path": "ca.crt"}],
                                "name": "kube-root-ca.crt",
                            }
                        },
                        {
                            "downwardAPI": {
                                "items": [
                                    {
                                        "fieldRef": {
                                            "apiVersion": "v1",
                                            "fieldPath": "metadata.namespace",
                                        },
                                        "path": "namespace",
                                    }
                                ]
                            }
                        },
                    ],
                },
            }
        ],
    },
}


def _built() -> bytes:
    """Samples as msgpack, the rarest first; deflate uses at most the last 32 KiB."""
    change = {"b": 0, "r": 0, "d": b"", "x": [["Pod", "default", "app"]], "p": []}
    bound = {**change, "p": [["Pod", "default", "app", None, None, _POD]]}
    samples = [_RARE, _STATES, _WORDS, change, bound, _FINISHED, _RUNNING]
    packed: list[bytes] = [msgpack.packb(sample, use_bin_type=True) for sample in samples]
    return b"".join(packed)


DICTIONARY = _built()
