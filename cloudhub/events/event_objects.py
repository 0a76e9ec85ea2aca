"""Events as Kubernetes has them, from what a device or the hub says. Pure.

An Event is named as a kubelet names it: the object, and 16 hexadecimal digits that grow with the
time. They are made of what the device says of the Event's beginning, so that a repeat, also one
that a restarted hub writes, meets the same Event, and one that begins anew is a new Event. Events
of one second are thereby listed in their order. Device clocks are not trusted: a time before 2020
or in the future becomes the hub's.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from cloudhub.stamps import stamp
from shared.messages import ReportedEvent
from shared.objects import NO_NAMESPACE, Json, ObjectKey

AGENT = "kubetide-agent"
HUB = "kubetide-hub"
TOO_OLD = 3600.0
"""Seconds that the API server keeps Events: older ones are not worth a write."""
EARLIEST = 1_577_836_800
"""2020-01-01: a device clock before this was never set."""
AHEAD = 300.0
"""Seconds that a device's clock may be ahead of ours."""
MOST_MESSAGE = 1024
MOST_REASON = 128


@dataclass(frozen=True, slots=True)
class Involved:
    """The object that an Event is about, and who speaks."""

    key: ObjectKey
    uid: str
    node: str
    component: str = AGENT

    @property
    def namespace(self) -> str:
        """Where its Events are: those of cluster-scoped objects are in ``default``."""
        return "default" if self.key.namespace == NO_NAMESPACE else self.key.namespace


def event_name(involved: Involved, event: ReportedEvent) -> str:
    said = (involved.uid, involved.component, *event.identity)
    mark = blake2b("\0".join(said).encode(errors="replace"), digest_size=3).hexdigest()
    began = f"{event.first:08x}{min(event.order, 255):02x}"
    return f"{involved.key.name[:230].rstrip('-.')}.{began}{mark}"


def last_time(event: ReportedEvent, now: float) -> float:
    return event.last if EARLIEST <= event.last <= now + AHEAD else now


def is_too_old(event: ReportedEvent, now: float) -> bool:
    return now - last_time(event, now) > TOO_OLD


def event_object(involved: Involved, event: ReportedEvent, now: float) -> Json:
    last = last_time(event, now)
    first = event.first if EARLIEST <= event.first <= last else last
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event_name(involved, event), "namespace": involved.namespace},
        "involvedObject": _reference(involved, event),
        "type": event.type,
        "reason": event.reason[:MOST_REASON],
        "message": event.message[:MOST_MESSAGE],
        "source": {"component": involved.component, "host": involved.node},
        "reportingComponent": involved.component,
        "reportingInstance": involved.node,
        "firstTimestamp": stamp(first),
        "lastTimestamp": stamp(last),
        "count": min(event.count, 2**31 - 1),
    }


def _reference(involved: Involved, event: ReportedEvent) -> Json:
    key = involved.key
    namespaced = {"namespace": key.namespace} if key.namespace != NO_NAMESPACE else {}
    path = {"fieldPath": event.field_path[:512]} if event.field_path else {}
    named = {"apiVersion": "v1", "kind": key.kind, "name": key.name, "uid": involved.uid}
    return {**named, **namespaced, **path}


def repeat_patch(event: ReportedEvent, now: float) -> Json:
    return {
        "count": min(event.count, 2**31 - 1),
        "lastTimestamp": stamp(last_time(event, now)),
        "message": event.message[:MOST_MESSAGE],
    }
