"""The part of the table of fields (``supported_fields.py``) that is about volumes. Data only."""

from __future__ import annotations

from edgeagent.pods.admission.verdicts import Field, idle, must, no, only, yes

_NO_STORAGE = "this kind of volume is not supported on edge nodes"
_CONTROLLER = "the cluster's volume controller acts on it"
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

VOLUMES: dict[str, dict[str, Field]] = {
    "Volume": {
        "name": must("label"),
        "emptyDir": yes("EmptyDir"),
        "hostPath": yes("HostPath"),
        "configMap": yes("KeysVolume"),
        "secret": yes("SecretVolume"),
        "downwardAPI": yes("DownwardVolume"),
        "projected": yes("ProjectedVolume"),
        "image": yes("ImageVolume", "read-only; refused where the runtime is too old"),
        "persistentVolumeClaim": yes("ClaimVolume"),
        "ephemeral": yes("EphemeralVolume", "a claim like any other, made by the cluster"),
        "csi": no("any", _NO_STORAGE),
        **{kind: no("any", _NO_STORAGE) for kind in _OTHER_STORAGE},
    },
    "ImageVolume": {
        "reference": must("text"),
        "pullPolicy": only("Always", "IfNotPresent", "Never"),
    },
    "EphemeralVolume": {
        "volumeClaimTemplate": idle("any", "the cluster's controller makes the claim of it")
    },
    "ClaimVolume": {"claimName": must("text"), "readOnly": yes("flag")},
    "PersistentVolumeSpec": {
        "local": yes("LocalVolume"),
        "hostPath": yes("HostPath"),
        "accessModes": yes("[text]", "ReadWriteOncePod is kept to"),
        "nodeAffinity": yes("VolumeNodeAffinity", "a label that is known to differ: not mounted"),
        "volumeMode": only("Filesystem", "Block", note="Block of local volumes only"),
        "mountOptions": no("any", "mount options are not supported on edge nodes"),
        "claimRef": yes("any"),
        "capacity": idle("any", "nothing on a node limits what a local path takes"),
        "storageClassName": idle("text", _CONTROLLER),
        "persistentVolumeReclaimPolicy": idle("text", _CONTROLLER),
        "volumeAttributesClassName": idle("text", _CONTROLLER),
        "csi": no("any", _NO_STORAGE),
        **{kind: no("any", _NO_STORAGE) for kind in _OTHER_STORAGE if kind != "gitRepo"},
    },
    "LocalVolume": {
        "path": must("text"),
        "fsType": idle("text", "folders are mounted as they are, nothing is formatted"),
    },
    "VolumeNodeAffinity": {"required": yes("NodeSelector")},
    "EmptyDir": {
        "medium": yes(
            "medium", "`Memory`; `HugePages` or `HugePages-2Mi`, where the kernel has hugetlbfs"
        ),
        "sizeLimit": yes(
            "amount",
            "in memory and of huge pages: the size of the file system; on disk: a pod beyond it is"
            " evicted",
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
