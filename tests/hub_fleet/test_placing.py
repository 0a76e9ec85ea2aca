"""Of a Node's labels a device is told those by which a new pod may not be there, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from cloudhub.fleet.fleet import Effects, Fleet
from shared import codec
from shared.objects import NO_NAMESPACE, ObjectKey

NODE = "edge-1"
KEY = ObjectKey("Node", NO_NAMESPACE, NODE)


def pod(name: str, version: int = 1, status: Any = None, **selector: str) -> Any:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-of-{name}"}
    return {
        "metadata": {**metadata, "resourceVersion": str(version)},
        "spec": {"nodeName": NODE, "containers": [], "nodeSelector": selector},
        "status": status or {"phase": "Pending"},
    }


RUNS = {"phase": "Running", "startTime": "2026-01-01T00:00:00Z"}
REFUSED = {"phase": "Failed", "reason": "NodeAffinity", "startTime": "2026-01-01T00:00:00Z"}


class Story:
    def __init__(self, **labels: str) -> None:
        self.fleet = Fleet()
        self.fleet.manage(NODE)
        self.fleet.list_pods([])
        self.fleet.list_services([])
        self.label(**labels)

    def label(self, **labels: str) -> Effects:
        """The watch tells."""
        return self.fleet.describe(NODE, [], labels)

    def read(self, **labels: str) -> Effects:
        """The Node is read, as it was asked for."""
        doubted = self.fleet.doubted(NODE)
        self.label(**labels)
        return self.fleet.ascertain(NODE, doubted)

    @property
    def told(self) -> Any:
        """What the list says of the Node's labels; None while the Node is not on it."""
        wanted = self.fleet.wanted(NODE)
        assert wanted is not None
        body = self.fleet.body(KEY)
        assert (body.digest if body else None) == (
            wanted.entries[KEY].digest if KEY in wanted.entries else None
        )
        return codec.unpack(body.packed)["metadata"]["labels"] if body else None

    @property
    def waits(self) -> bool:
        wanted = self.fleet.wanted(NODE)
        return wanted is not None and wanted.doubtful


def test_of_a_pod_that_fits_nothing_is_said_or_asked() -> None:
    story = Story(zone="a", disk="ssd")
    effects = story.fleet.put_pod(pod("web", zone="a"))
    assert not effects.look and not story.waits and story.told is None


def test_pods_that_name_labels_without_end_harm_nobody_else() -> None:
    """Together they are more than a message can carry: the hub ended with them at each start."""
    story = Story(zone="a")
    for name in ("one", "two"):
        many = {f"{'x' * 250}/{name}-{number}": "v" for number in range(4200)}
        story.fleet.put_pod(pod(name, status=REFUSED, **many))
    story.fleet.put_pod(pod("web", status=REFUSED, zone="b"))
    assert 100 < len(story.told) < 1000
    assert len(codec.pack(story.told)) < 200_000


def test_labels_by_which_a_pod_does_not_fit_are_told_when_the_node_was_read_again() -> None:
    story = Story(zone="a", disk="ssd", size="5")
    effects = story.fleet.put_pod(pod("web", zone="b", gpu="yes"))
    assert effects.look == {NODE}
    assert story.waits and story.told is None
    effects = story.read(zone="a", disk="ssd", size="5")
    assert effects.dirty == {NODE} and not effects.look
    assert not story.waits
    assert story.told == {"gpu": None, "zone": "a"}, "present and absent, of those that it names"


def test_a_label_that_the_watch_of_nodes_has_not_shown_yet_lets_its_pod_in() -> None:
    story = Story(zone="a")
    story.fleet.put_pod(pod("web", zone="b"))
    story.read(zone="b")
    assert not story.waits and story.told is None


def test_of_a_pod_that_comes_while_the_node_is_read_nothing_is_sure() -> None:
    story = Story(zone="a")
    story.fleet.put_pod(pod("early", zone="b"))
    doubted = story.fleet.doubted(NODE)
    story.fleet.put_pod(pod("late", disk="ssd", zone="c"))
    effects = story.fleet.ascertain(NODE, doubted)
    assert effects.look == {NODE}, "it is read once more"
    assert story.told is None and story.waits, "nor is a label told that the late one names too"
    story.read(zone="a", disk="ssd")
    assert story.told == {"disk": "ssd", "zone": "a"}


def test_while_the_labels_of_the_node_are_not_known_at_all_nothing_is_told() -> None:
    fleet = Fleet()
    fleet.manage(NODE)
    effects = fleet.list_pods([pod("web", zone="b")])
    assert effects.look == {NODE} and fleet.body(KEY) is None


def test_labels_that_come_and_go_are_told_while_a_pod_waits_for_its_device() -> None:
    story = Story(zone="a")
    story.fleet.put_pod(pod("web", zone="a"))
    assert story.label(zone="b").look == {NODE}
    story.read(zone="b")
    assert story.told == {"zone": "b"}
    assert story.label(zone="b", other="x").look == {NODE}, "whatever changes is looked at anew"
    story.read(zone="b", other="x")
    assert story.told == {"zone": "b"}
    story.label(zone="a")
    assert not story.waits and story.told is None


def test_of_a_pod_that_was_taken_up_a_change_of_labels_says_nothing() -> None:
    story = Story(zone="a")
    story.fleet.put_pod(pod("web", zone="a"))
    story.fleet.put_pod(pod("web", 2, RUNS, zone="a"))
    effects = story.label(zone="b")
    assert not effects.look and not effects.dirty and story.told is None


def test_a_pod_that_was_refused_keeps_what_was_told_until_it_is_gone() -> None:
    """So that the next one of its controller costs nothing more."""
    story = Story(zone="a")
    story.fleet.put_pod(pod("web", zone="b"))
    story.read(zone="a")
    story.fleet.put_pod(pod("web", 2, REFUSED, zone="b"))
    assert story.told == {"zone": "a"} and not story.waits
    story.fleet.drop_pod(pod("web", 3, REFUSED, zone="b"))
    assert story.told is None


def test_a_pod_that_was_refused_says_nothing_while_one_that_names_the_same_is_in_doubt() -> None:
    story = Story(zone="a")
    story.fleet.put_pod(pod("web", status=REFUSED, zone="b"))
    assert story.told == {"zone": "a"}
    story.fleet.put_pod(pod("next", zone="b"))
    assert story.told is None and story.waits
    story.read(zone="a")
    assert story.told == {"zone": "a"}


@pytest.mark.parametrize(
    "name", ["kubernetes.io/arch", "kubernetes.io/os", "kubernetes.io/hostname"]
)
def test_what_a_device_knows_itself_is_never_told(name: str) -> None:
    story = Story(**{name: "x"})
    assert not story.fleet.put_pod(pod("web", **{name: "y"})).look
    assert story.told is None


def test_taints_and_labels_are_told_in_one() -> None:
    story = Story(zone="a")
    story.fleet.put_pod(pod("web", zone="b"))
    story.read(zone="a")
    taint = {"key": "example.com/maintenance", "effect": "NoExecute"}
    story.fleet.describe(NODE, [taint], {"zone": "a"})
    body = story.fleet.body(KEY)
    assert body is not None and codec.unpack(body.packed) == {
        "metadata": {"name": NODE, "labels": {"zone": "a"}},
        "spec": {"taints": [taint]},
    }


def test_of_a_node_with_taints_alone_no_labels_are_said() -> None:
    """Byte for byte as older hubs tell it, so an upgrade sends nothing."""
    story = Story(zone="a")
    taint = {"key": "example.com/maintenance", "effect": "NoExecute"}
    story.fleet.describe(NODE, [taint], {"zone": "a"})
    body = story.fleet.body(KEY)
    assert body is not None and codec.unpack(body.packed) == {
        "metadata": {"name": NODE},
        "spec": {"taints": [taint]},
    }
