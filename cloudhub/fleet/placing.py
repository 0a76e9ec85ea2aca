"""What its device must hear of a Node, so that it refuses pods that may not be there. Pure.

Those are its taints, and few of its labels. The scheduler has looked at the labels for nearly every
pod, so of a pod that fits nothing is said, nor of one that its device has taken up. Told are the
labels, present or absent, by which a pod at the door does not fit. Invariant: none is told because
of a pod for which the Node was not read after the pod was known. A watch of Nodes may lag behind
that of pods, and the label that lets the pod in may be on its way. While that is in doubt the
labels that the pod names are not told at all. One ``Placing`` is a part of each node of ``Fleet``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from cloudhub.fleet.trimming import Body, node_body
from shared import codec, node_affinity
from shared.objects import Json

if TYPE_CHECKING:
    from cloudhub.fleet.pods import PodRecord

MOST_BYTES = 128 * 1024
"""Of labels: what anybody means many times over, and little of what a body may have."""
REFUSED = "NodeAffinity"
"""The reason of a pod that its device has refused for labels."""


def decided_by(pod: Json) -> frozenset[str]:
    """Labels that only the API knows and the pod names; none of one that was taken up."""
    named = node_affinity.keys_named(pod) - node_affinity.KNOWN_TO_DEVICES
    status = pod.get("status") or {}
    judged = "startTime" in status or status.get("phase", "Pending") != "Pending"
    return named if named and (not judged or was_refused(status)) else frozenset()


def was_refused(status: Json) -> bool:
    """Such a pod goes on counting: else the labels would be told anew for each that replaces it."""
    return status.get("phase") == "Failed" and status.get("reason") == REFUSED


class Placing:
    def __init__(self) -> None:
        self._labels = b""
        """Packed, because there are many; empty while they are not known."""
        self._taints: list[Json] = []
        self._sure: frozenset[str] = frozenset()
        """Uids of pods that did not fit the labels of a Node read after them."""
        self.body: Body | None = None
        """What the device is told; None while that is nothing."""
        self.doubtful = False
        """Whether the Node must be read before it can be told all."""

    def learn(self, taints: list[Json], labels: Mapping[str, str]) -> bool:
        """Whether they are others than before. With other labels nothing is sure any more."""
        packed = codec.pack(dict(sorted(labels.items())))
        if (packed, taints) == (self._labels, self._taints):
            return False
        if packed != self._labels:
            self._labels, self._sure = packed, frozenset()
        self._taints = taints
        return True

    def judge(self, name: str, pods: Collection[PodRecord]) -> bool:
        """Whether the device is to be told something else, or to wait, of these pods."""
        before = self.doubtful, self.body and self.body.digest
        self.doubtful = bool(self.doubted(pods))
        self.body = node_body(name, self._taints, self._told(pods))
        return before != (self.doubtful, self.body and self.body.digest)

    def ascertain(self, uids: frozenset[str], pods: Iterable[PodRecord]) -> None:
        """The Node was read since these were in doubt, and ``learn`` knows what it says."""
        self._sure = (self._sure | uids) & {pod.uid for pod in pods}

    def doubted(self, pods: Iterable[PodRecord]) -> frozenset[str]:
        """Uids of all that are to be judged, if one of them seems not to fit and is not sure."""
        judged = [pod for pod in pods if pod.decided_by]
        doubt = any(self._is_doubtful(pod) for pod in self._misfits(judged))
        return frozenset(pod.uid for pod in judged) if doubt else frozenset()

    def _told(self, pods: Collection[PodRecord]) -> dict[str, str | None]:
        misfits, labels = list(self._misfits(pods)), self._known()
        unsure = {key for pod in misfits if self._is_doubtful(pod) for key in pod.decided_by}
        sure = {key for pod in misfits for key in pod.decided_by} - unsure
        return dict(_fitting((key, labels.get(key)) for key in sorted(sure)))

    def _misfits(self, pods: Iterable[PodRecord]) -> Iterable[PodRecord]:
        labels = None
        for pod in pods:
            if pod.decided_by:
                labels = self._known() if labels is None else labels
                if not self._labels or not _fits(pod, labels):
                    yield pod

    def _is_doubtful(self, pod: PodRecord) -> bool:
        """What a pod was refused for is not asked again."""
        return not self._labels or not (pod.refused or pod.uid in self._sure)

    def _known(self) -> dict[str, str]:
        return codec.unpack(self._labels) if self._labels else {}


def _fitting(labels: Iterable[tuple[str, str | None]]) -> Iterator[tuple[str, str | None]]:
    """A pod can name labels without end; its neighbours on the node are not to suffer for it."""
    left = MOST_BYTES
    for key, value in labels:
        left -= len(key) + len(value or "")
        if left < 0:
            return
        yield key, value


def _fits(pod: PodRecord, labels: Mapping[str, str]) -> bool:
    known = {key: labels.get(key) for key in pod.decided_by}
    return node_affinity.fits(codec.unpack(pod.body.packed), known, name=pod.node)
