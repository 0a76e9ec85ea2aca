"""One stored object, two API kinds: events of ``v1`` and of ``events.k8s.io/v1``. Pure.

Events are stored as ``v1``; ``shown`` gives the form of the resource asked for, ``stored`` the way
back. Every other resource is stored as it is shown.
"""

from __future__ import annotations

from devcluster.apiserver.resources import EVENTS, Resource
from devcluster.apiserver.status import Json

_NEW_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "count": "deprecatedCount",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
}
_OLD_NAMES = {new: old for old, new in _NEW_NAMES.items()}


def shown(resource: Resource, obj: Json) -> Json:
    if not resource.stored_as:
        return obj
    return _renamed(obj, _NEW_NAMES) | {"apiVersion": resource.api_version}


def stored(resource: Resource, obj: Json) -> Json:
    if not resource.stored_as:
        return obj
    return _renamed(obj, _OLD_NAMES) | {"apiVersion": EVENTS.api_version}


def _renamed(obj: Json, names: dict[str, str]) -> Json:
    return {names.get(field, field): value for field, value in obj.items()}
