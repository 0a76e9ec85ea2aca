"""One pod of a managed node, as the hub remembers it: packed, because there are many. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from cloudhub.fleet.placing import decided_by, was_refused
from cloudhub.fleet.references import references_of
from cloudhub.fleet.trimming import Body, body_of
from shared import codec
from shared.errors import WireError
from shared.messages import MOST_GRACE, Entry
from shared.objects import Json, ObjectKey
from shared.static_pods import MIRROR, status_key


@dataclass(frozen=True, slots=True, eq=False)
class PodRecord:
    key: ObjectKey
    uid: str
    version: str
    node: str
    grace: int | None
    """Seconds the pod may take to stop; None while it is not being deleted."""
    body: Body
    references: frozenset[ObjectKey]
    links: bool
    """Whether its containers get the variables of its namespace's Services; never changes."""
    gates: tuple[str, ...]
    """Types of the conditions that its readiness waits for, besides its containers."""
    packed_status: bytes
    decided_by: frozenset[str] = frozenset()
    """Labels of the Node that are still to say whether it may be there (``placing.py``)."""
    refused: bool = False
    """They have said that it may not."""
    mirror: str = ""
    """Of a mirror pod: the hash of the static pod that it shows; the device has the original."""
    over: bool = False
    """It has finished, and yet its device runs it."""

    @property
    def origin(self) -> str:
        """The uid under which the device knows it."""
        return self.mirror or self.uid

    @property
    def report_key(self) -> ObjectKey:
        """Under which the device reports its status."""
        return status_key(self.key) if self.mirror else self.key

    @property
    def entry(self) -> Entry:
        if self.grace is None and self.over:
            spec = codec.unpack(self.body.packed).get("spec") or {}
            return Entry(self.body.digest, _seconds(spec.get("terminationGracePeriodSeconds")))
        return Entry(self.body.digest, self.grace)

    @property
    def status(self) -> Json:
        status: Json = codec.unpack(self.packed_status)
        return status

    def is_newer_than(self, pod: Json) -> bool:
        version = str(pod["metadata"]["resourceVersion"])
        return version.isdecimal() and self.version.isdecimal() and int(version) < int(self.version)

    def is_of(self, pod: Json) -> bool:
        """Whether it was made of this very version."""
        metadata = pod["metadata"]
        return (self.uid, self.version) == (metadata["uid"], metadata["resourceVersion"])


def is_mirror(pod: Json) -> bool:
    return MIRROR in (pod["metadata"].get("annotations") or {})


def node_of(pod: Json) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def sendable(pod: Json) -> bool:
    """Whether a message can carry it."""
    try:
        body_of(ObjectKey.of("Pod", pod), pod)
    except WireError:
        return False
    return True


def record_of(key: ObjectKey, pod: Json, old: PodRecord | None) -> PodRecord:
    """Raises WireError for a pod that no message can carry. Shares what ``old`` has already."""
    metadata = pod["metadata"]
    body = body_of(key, pod)
    if old is not None and old.body.digest == body.digest:
        body, references, gates = old.body, old.references, old.gates
    else:
        references, gates = references_of(pod), _gates(pod)
    try:
        status = codec.pack(pod.get("status") or {})
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise WireError("bad-body", f"{key}: {error}") from error
    return PodRecord(
        *(key, metadata["uid"], metadata["resourceVersion"], node_of(pod), _grace(metadata)),
        body=body,
        references=references,
        links=_links(pod) if old is None or old.uid != metadata["uid"] else old.links,
        gates=gates,
        packed_status=status,
        decided_by=decided_by(pod),
        refused=was_refused(pod.get("status") or {}),
        over=old is not None and old.uid == metadata["uid"] and old.over,
    )


def mirror_of(key: ObjectKey, pod: Json) -> PodRecord:
    """A mirror pod: it names nothing that would have to be sent, and is never sent itself."""
    metadata = pod["metadata"]
    return PodRecord(
        *(key, metadata["uid"], metadata["resourceVersion"], node_of(pod), _grace(metadata)),
        body=_body_of_mirror(key, pod),
        references=frozenset(),
        links=False,
        gates=_gates(pod),
        packed_status=_packed_status(pod),
        mirror=str(metadata["annotations"][MIRROR]) or "?",
    )


def _body_of_mirror(key: ObjectKey, pod: Json) -> Body:
    try:
        return body_of(key, pod)
    except WireError:
        return Body(key, codec.pack({"metadata": {}, "spec": {}}), b"")


def _packed_status(pod: Json) -> bytes:
    try:
        return codec.pack(pod.get("status") or {})
    except (ValueError, TypeError, OverflowError, RecursionError):
        return codec.pack({})


def _links(pod: Json) -> bool:
    return (pod.get("spec") or {}).get("enableServiceLinks") is not False


def _gates(pod: Json) -> tuple[str, ...]:
    gates = (pod.get("spec") or {}).get("readinessGates") or ()
    return tuple(str(gate.get("conditionType")) for gate in gates)


def _grace(metadata: Json) -> int | None:
    if not metadata.get("deletionTimestamp"):
        return None
    return _seconds(metadata.get("deletionGracePeriodSeconds"))


def _seconds(grace: int | None) -> int:
    """The API server takes any; the wire takes what lasts 68 years."""
    return min(max(0, int(grace or 0)), MOST_GRACE)
