"""Claims and the volumes that they are bound to: who gets them, and what of them travels."""

from __future__ import annotations

from cloudhub.fleet.fleet import Fleet
from cloudhub.fleet.trimming import body_of
from shared import codec
from tests.hub_fleet.objects import claim, claim_key, key, pod, volume, volume_key


def bound(node: str = "edge-1") -> Fleet:
    """A pod with a claim, its volume not fetched yet."""
    fleet = Fleet()
    fleet.manage(node)
    effects = fleet.list_pods([pod("a", node, ["claim-1"])])
    assert effects.fetch == {claim_key("claim-1")}
    effects = fleet.put_object(claim_key("claim-1"), claim("claim-1", "pv-1"))
    assert (effects.fetch, effects.dirty) == ({volume_key("pv-1")}, {node})
    return fleet


def test_a_claim_brings_the_volume_that_it_is_bound_to() -> None:
    fleet = bound()
    wanted = fleet.wanted("edge-1")
    assert wanted is not None and wanted.pending == {volume_key("pv-1")}
    effects = fleet.put_object(volume_key("pv-1"), volume("pv-1", "/a"))
    assert effects.dirty == {"edge-1"}
    wanted = fleet.wanted("edge-1")
    assert wanted is not None
    assert set(wanted.entries) == {key("Pod", "a"), claim_key("claim-1"), volume_key("pv-1")}
    assert [record.key for record in fleet.users(volume_key("pv-1"), "edge-1")] == [key("Pod", "a")]


def test_a_second_node_with_the_claim_gets_the_volume_that_is_known() -> None:
    fleet = bound()
    fleet.put_object(volume_key("pv-1"), volume("pv-1", "/a"))
    fleet.manage("edge-2")
    effects = fleet.list_node("edge-2", [pod("b", "edge-2", ["claim-1"])])
    assert effects.fetch == set()
    wanted = fleet.wanted("edge-2")
    assert wanted is not None and volume_key("pv-1") in wanted.entries
    fleet.drop_pod(pod("a", "edge-1", ["claim-1"]))
    assert volume_key("pv-1") in fleet.referenced()
    fleet.drop_pod(pod("b", "edge-2", ["claim-1"]))
    assert set(fleet.referenced()) == set()


def test_what_a_node_does_not_need_to_know_of_claims_and_volumes_changes_nothing() -> None:
    fleet = bound()
    fleet.put_object(volume_key("pv-1"), volume("pv-1", "/a"))
    again = claim("claim-1", "pv-1", 7)
    again["status"] |= {"conditions": [{"type": "Resizing"}], "capacity": {"storage": "2Gi"}}
    again["metadata"]["labels"] = {"seen": "yes"}
    assert fleet.put_object(claim_key("claim-1"), again).dirty == set()
    grown = volume("pv-1", "/a", 8)
    grown["spec"] |= {"capacity": {"storage": "2Gi"}, "persistentVolumeReclaimPolicy": "Delete"}
    grown["status"] = {"phase": "Released", "lastPhaseTransitionTime": "2026-01-01T00:00:00Z"}
    assert fleet.put_object(volume_key("pv-1"), grown).dirty == set()


def test_of_a_volume_s_annotations_only_its_group_travels() -> None:
    plain = volume("pv-1", "/a")
    bytes_without = body_of(volume_key("pv-1"), plain).packed
    for others in ({}, {"pv.kubernetes.io/bound-by-controller": "yes"}):
        plain["metadata"]["annotations"] = dict(others)
        assert body_of(volume_key("pv-1"), plain).packed == bytes_without
    plain["metadata"]["annotations"] |= {"pv.beta.kubernetes.io/gid": "1234"}
    assert codec.unpack(body_of(volume_key("pv-1"), plain).packed)["metadata"] == {
        "name": "pv-1",
        "annotations": {"pv.beta.kubernetes.io/gid": "1234"},
    }


def test_a_claim_keeps_its_binding_and_the_mark_of_its_deletion() -> None:
    dying = claim("claim-1", "pv-1")
    dying["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    body = codec.unpack(body_of(claim_key("claim-1"), dying).packed)
    assert body == {
        "metadata": {
            "name": "claim-1",
            "namespace": "default",
            "uid": "u",
            "deletionTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"volumeName": "pv-1"},
        "status": {"phase": "Bound"},
    }


def test_a_claim_of_an_ephemeral_volume_says_whose_it_is() -> None:
    owned = claim("claim-1", "pv-1")
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "uid-a", "controller": True}
    owned["metadata"]["ownerReferences"] = [
        {**owner, "kind": "StatefulSet", "uid": "s"},
        {**owner, "controller": False, "uid": "x"},
        owner,
    ]
    body = codec.unpack(body_of(claim_key("claim-1"), owned).packed)
    assert body["metadata"]["ownerReferences"] == [{"controller": True, "uid": "uid-a"}]


def test_of_a_driver_that_no_edge_node_has_only_the_name_is_sent() -> None:
    foreign = volume("pv-1", "")
    del foreign["spec"]["local"]
    foreign["spec"] |= {
        "csi": {"driver": "x", "nodeStageSecretRef": {"name": "s", "namespace": "n"}},
        "claimRef": {"name": "claim-1", "namespace": "default", "uid": "u"},
        "accessModes": ["ReadWriteOnce"],
        "nodeAffinity": {"required": {}},
        "volumeMode": "Filesystem",
        "mountOptions": ["ro"],
        "storageClassName": "fast",
    }
    body = codec.unpack(body_of(volume_key("pv-1"), foreign).packed)
    assert body == {
        "metadata": {"name": "pv-1"},
        "spec": {
            "csi": True,
            "claimRef": {"uid": "u"},
            "accessModes": ["ReadWriteOnce"],
            "nodeAffinity": {"required": {}},
            "volumeMode": "Filesystem",
            "mountOptions": ["ro"],
        },
    }
