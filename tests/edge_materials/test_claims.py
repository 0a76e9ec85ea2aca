"""From a pod's claim to the volume that it stands for: pure, whatever came over the wire."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.pods.materials.mentions import mentions
from edgeagent.pods.model.errors import ClaimError, MountError, PodTrouble
from edgeagent.pods.volumes.claims import Place, group_of, place_of
from edgeagent.pods.volumes.contents import NoTokens, Origin
from edgeagent.pods.volumes.making import Volume
from edgeagent.pods.volumes.mounts import devices
from edgeagent.runtime.port import Device as RawDevice
from shared.objects import Json, ObjectKey
from tests.edge_materials.claiming import DATA, MOUNTED, NODE_1, dying
from tests.edge_materials.making import (
    UID,
    Objects,
    claim,
    container,
    persistent_volume,
    pod,
)

# Which volume a claim stands for


def place(*objects: Json, main: Json = MOUNTED) -> Place:
    whole = pod(main, volumes=[DATA])
    return place_of(DATA, Origin(whole, NODE_1, Objects(*objects), NoTokens()))


def refused(*objects: Json, main: Json = MOUNTED) -> str:
    with pytest.raises(PodTrouble) as raised:
        place(*objects, main=main)
    assert (raised.value.reason, raised.value.event) == ("ContainerCreating", "FailedMount")
    return str(raised.value)


LOCAL = {"local": {"path": "/mnt/disk"}}


def test_a_bound_claim_leads_to_a_local_path() -> None:
    assert place(claim(), persistent_volume(**LOCAL)) == Place("pv-1", "local", "/mnt/disk")


def test_a_bound_claim_leads_to_a_host_path() -> None:
    source = {"hostPath": {"path": "/mnt/disk", "type": "Directory"}}
    found = place(claim(), persistent_volume(**source))
    assert found == Place("pv-1", "hostPath", "/mnt/disk", "Directory")


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ([], 'failed to fetch PVC from API server: persistentvolumeclaims "data" not found'),
        ([claim(phase="Pending", volume="")], "PVC is not bound"),
        ([claim(phase="Lost")], "PVC is not bound"),
        ([dying(), persistent_volume(**LOCAL)], "PVC is being deleted"),
        ([claim(volume="")], "PVC has empty pvc.Spec.VolumeName"),
        (
            [claim()],
            'failed to fetch PV "pv-1" from API server: persistentvolumes "pv-1" not found',
        ),
        (
            [claim(), persistent_volume(of="other", **LOCAL)],
            'found PV object "pv-1" but its pv.Spec.ClaimRef.UID "uid-of-other" does not point to'
            ' claim.UID "uid-of-data"',
        ),
        (
            [claim(), persistent_volume(**LOCAL, claimRef=None)],
            'found PV object "pv-1" but it has a nil pv.Spec.ClaimRef indicating it is not yet'
            " bound to the claim",
        ),
        (
            [claim(), persistent_volume(**LOCAL, volumeMode="Block")],
            "volume v has volumeMode Block, but is specified in volumeMounts",
        ),
    ],
)
def test_a_claim_that_leads_nowhere_is_waited_for(objects: list[Json], why: str) -> None:
    assert refused(*objects) == (
        "Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to"
        f" process volumes=[v]: error processing PVC default/data: {why}"
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"csi": True},
            'MountVolume.SetUp failed for volume "pv-1" : spec.csi: this kind of volume is not'
            " supported on edge nodes",
        ),
        (
            {"nfs": True},
            'MountVolume.SetUp failed for volume "pv-1" : spec.nfs: this kind of volume is not'
            " supported on edge nodes",
        ),
        (
            {**LOCAL, "mountOptions": ["noexec"]},
            'MountVolume.SetUp failed for volume "pv-1" : spec.mountOptions: mount options are not'
            " supported on edge nodes",
        ),
        (
            {},
            'MountVolume.SetUp failed for volume "pv-1" : the volume names neither a local path nor'
            " a hostPath",
        ),
    ],
)
def test_a_volume_of_another_kind_is_named(spec: Json, message: str) -> None:
    assert refused(claim(), persistent_volume(**spec)) == message


OWN = {"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}


def of_a_pod(uid: object = UID) -> Json:
    """The claim that the cluster makes for the volume ``v`` of the pod ``web``."""
    found = claim("web-v")
    found["metadata"]["ownerReferences"] = [{"controller": True, "uid": uid}]
    return found


def test_an_ephemeral_volume_has_a_claim_of_its_own() -> None:
    whole = pod(MOUNTED, volumes=[OWN])
    objects = Objects(of_a_pod(), persistent_volume(of="web-v", **LOCAL))
    assert place_of(OWN, Origin(whole, NODE_1, objects, NoTokens())).path == "/mnt/disk"
    for name, is_its_own in (("web-v", True), ("web-w", False)):
        changed = frozenset({ObjectKey("PersistentVolumeClaim", "default", name)})
        assert mentions(whole, "default", changed) is is_its_own


@pytest.mark.parametrize("owner", ["uid-of-another", None, {}])
def test_a_claim_of_that_name_that_was_not_made_for_the_pod_is_not_used(owner: object) -> None:
    whole = pod(MOUNTED, volumes=[OWN])
    objects = Objects(of_a_pod(owner), persistent_volume(of="web-v", **LOCAL))
    with pytest.raises(ClaimError) as raised:
        place_of(OWN, Origin(whole, NODE_1, objects, NoTokens()))
    words = "PVC default/web-v was not created for pod default/web (pod is not owner)"
    assert str(raised.value).endswith(words)


def affinity(operator: str, *values: str, key: str = "kubernetes.io/hostname") -> Json:
    wanted = {"key": key, "operator": operator, "values": list(values)}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}}


def test_a_volume_of_another_node_is_not_mounted() -> None:
    here = persistent_volume(**LOCAL, nodeAffinity=affinity("In", "edge-0", "edge-1"))
    assert place(claim(), here).path == "/mnt/disk"
    unknown = persistent_volume(**LOCAL, nodeAffinity=affinity("In", "a", key="zone"))
    assert place(claim(), unknown).path == "/mnt/disk", "labels that only the API knows"
    elsewhere = persistent_volume(**LOCAL, nodeAffinity=affinity("In", "edge-2"))
    assert refused(claim(), elsewhere) == (
        'MountVolume.NodeAffinity check failed for volume "pv-1" : no matching NodeSelectorTerms'
    )


def test_a_block_volume_is_for_devices_only() -> None:
    raw = container(volumeDevices=[{"name": "v", "devicePath": "/dev/data"}])
    assert place(claim(), persistent_volume(**LOCAL, volumeMode="Block"), main=raw).is_block
    assert "volume v has volumeMode Filesystem, but is specified in volumeDevices" in refused(
        claim(), persistent_volume(**LOCAL), main=raw
    )
    path = {"hostPath": {"path": "/dev/sdz"}, "volumeMode": "Block"}
    assert "a hostPath volume has no block mode" in refused(
        claim(), persistent_volume(**path), main=raw
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
FIELDS = ("accessModes", "claimRef", "hostPath", "local", "nodeAffinity", "volumeMode", "csi")


@given(
    st.dictionaries(st.sampled_from(("metadata", "spec", "status")), JSON),
    st.dictionaries(st.sampled_from(FIELDS), JSON),
    st.booleans(),
)
def test_whatever_came_over_the_wire_is_a_place_or_a_trouble(
    odd_claim: Json, odd_spec: Json, sound_claim: bool
) -> None:
    first = claim() if sound_claim else odd_claim
    sources = {"PersistentVolumeClaim": first, "PersistentVolume": persistent_volume(**odd_spec)}

    class Wire:
        def get(self, key: Any) -> Json | None:
            return sources[key.kind]

    whole = pod(MOUNTED, volumes=[DATA])
    try:
        found = place_of(DATA, Origin(whole, NODE_1, Wire(), NoTokens()))
    except (ClaimError, MountError):
        return
    assert found.source in ("local", "hostPath")


# The group of a volume


def with_group(written: object) -> Json:
    found = persistent_volume(**LOCAL)
    found["metadata"]["annotations"] = {"pv.beta.kubernetes.io/gid": written}
    return found


@pytest.mark.parametrize(
    ("written", "group"),
    [
        *[("1234", 1234), ("1000600000", 1000600000), ("0", 0), ("-5", None), ("staff", None)],
        *[("", None), (7, 7), (None, None), ("9999999999", None), ("1" * 5000, None)],
    ],
)
def test_a_volume_names_the_group_that_may_use_it(written: object, group: int | None) -> None:
    objects = Objects(claim(), with_group(written))
    origin = Origin(pod(MOUNTED, volumes=[DATA]), NODE_1, objects, NoTokens())
    assert group_of(DATA, origin) == group


@pytest.mark.parametrize("objects", [[], [claim()], [claim(volume="")]])
def test_what_is_not_there_names_no_group(objects: list[Json]) -> None:
    whole = pod(MOUNTED, volumes=[DATA])
    assert group_of(DATA, Origin(whole, NODE_1, Objects(*objects), NoTokens())) is None


# Block


def test_a_block_volume_becomes_a_device_of_the_container() -> None:
    raw = container(volumeDevices=[{"name": "v", "devicePath": "/dev/data"}])
    volume = Volume("v", "local", "/dev/sdz", is_block=True)
    assert devices(raw, {"v": volume}) == [RawDevice("/dev/sdz", "/dev/data", "mrw")]
    read = replace(volume, readonly=True)
    assert devices(raw, {"v": read}) == [RawDevice("/dev/sdz", "/dev/data", "r")]
    for volumes in ({}, {"v": replace(volume, is_block=False)}):
        with pytest.raises(PodTrouble) as raised:
            devices(raw, volumes)
        assert str(raised.value) == 'cannot find volume "v" to pass into container "main"'


def test_a_name_is_found_however_deep_it_stands() -> None:
    """A field that no version of Kubernetes has may be nested as deep as a message allows; every
    change of the list would end the agent."""
    deep: Any = "data"
    for _ in range(5000):
        deep = [deep]
    whole = pod(unknown=deep)
    for name, is_there in (("data", True), ("other", False)):
        changed = frozenset({ObjectKey("ConfigMap", "default", name)})
        assert mentions(whole, "default", changed) is is_there
