"""The preset compression dictionary of wire version 1: what pods and statuses have in common.

Both ends must hold the same bytes, so this never changes within a version (a test pins its hash).
Deflate finds short distances cheapest, so what is most frequent stands at the end.
"""

from __future__ import annotations

from typing import Any

import msgpack

_META: dict[str, Any] = {
    "name": "app",
    "namespace": "default",
    "uid": "00000000-0000-0000-0000-000000000000",
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "generation": 1,
    "labels": {
        "app.kubernetes.io/name": "",
        "app.kubernetes.io/instance": "",
        "pod-template-hash": "",
        "controller-revision-hash": "",
        "pod-template-generation": "1",
        "app": "",
    },
}

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

_STATUS: dict[str, Any] = {
    "message": "containers with unready status: [",
    "reason": "ContainersNotReady",
    "phase": "Succeeded",
    "initContainerStatuses": [],
    "containerStatuses": [
        {
            "state": {
                "waiting": {
                    "message": "back-off 10s restarting failed container=",
                    "reason": "CrashLoopBackOff",
                }
            },
            "lastState": {
                "terminated": {
                    "containerID": "containerd://",
                    "exitCode": 137,
                    "finishedAt": "2026-01-01T00:00:00Z",
                    "reason": "OOMKilled",
                    "startedAt": "2026-01-01T00:00:00Z",
                }
            },
        },
        {"state": {"waiting": {"reason": "ContainerCreating"}}},
        {
            "state": {
                "waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image "}
            }
        },
        {"state": {"waiting": {"reason": "ErrImagePull"}}},
        {"state": {"terminated": {"exitCode": 1, "reason": "Error"}}},
        {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
        {
            "name": "",
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            "lastState": {},
            "ready": True,
            "restartCount": 0,
            "image": "docker.io/library/",
            "imageID": "docker.io/library/app@sha256:",
            "containerID": "containerd://",
            "started": True,
            "resources": {},
            "volumeMounts": [],
        },
    ],
    "conditions": [
        {"reason": "PodFailed"},
        {"reason": "PodCompleted"},
        {
            "type": "PodReadyToStartContainers",
            "status": "True",
            "observedGeneration": 1,
            "lastProbeTime": None,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        },
        {"type": "Initialized", "status": "True"},
        {"type": "Ready", "status": "False", "reason": "ContainersNotReady"},
        {"type": "ContainersReady", "status": "True"},
    ],
    "observedGeneration": 1,
    "phase ": "Running",
    "hostIP": "10.0.0.1",
    "hostIPs": [{"ip": "10.0.0.1"}],
    "podIP": "10.244.0.1",
    "podIPs": [{"ip": "10.244.0.1"}],
    "startTime": "2026-01-01T00:00:00Z",
    "qosClass": "BestEffort",
}

_EVENTS: list[Any] = [
    "MissingClusterDNS",
    'pod: "default(',
    ')". kubelet does not have ClusterDNS IP configured and cannot create Pod using '
    '"ClusterFirst" policy. Falling back to "Default" policy.',
    "Failed",
    "BackOff",
    "Unhealthy",
    "FailedMount",
    "Warning",
    "Normal",
    "Stopping container ",
    "Killing",
    "Started container ",
    "Container started",
    "Started",
    "Created container: ",
    "Container created",
    "Created",
    'Container image "',
    '" already present on machine and can be accessed by the pod',
    'Successfully pulled image "',
    'Pulling image "',
    "Pulled",
    "Pulling",
]

_SPEC: dict[str, Any] = {
    "volumes": [{"name": "", "emptyDir": {}}],
    "containers": [
        {
            "name": "app",
            "image": "docker.io/library/busybox:1",
            "command": ["sh", "-c", "sleep 3600"],
            "args": [],
            "ports": [{"name": "http", "containerPort": 80, "hostPort": 80, "protocol": "TCP"}],
            "env": [{"name": "", "value": ""}],
            "resources": {
                "limits": {"cpu": "100m", "memory": "128Mi"},
                "requests": {"cpu": "100m", "memory": "64Mi"},
            },
            "volumeMounts": [{"name": "", "mountPath": "/etc/"}],
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent",
        }
    ],
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "serviceAccountName": "default",
    "serviceAccount": "default",
    "nodeName": "",
    "securityContext": {},
    "schedulerName": "default-scheduler",
    "tolerations": [
        {"operator": "Exists"},
        {
            "key": "node.kubernetes.io/not-ready",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 300,
        },
        {
            "key": "node.kubernetes.io/unreachable",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 300,
        },
    ],
    "priority": 0,
    "enableServiceLinks": True,
    "preemptionPolicy": "PreemptLowerPriority",
}


def _built() -> bytes:
    """Sample objects as msgpack; deflate uses at most the last 32 KiB."""
    samples: list[Any] = [_RARE, _EVENTS, {"status": _STATUS}, {"metadata": _META, "spec": _SPEC}]
    packed: list[bytes] = [msgpack.packb(sample, use_bin_type=True) for sample in samples]
    return b"".join(packed)


DICTIONARY = _built()
