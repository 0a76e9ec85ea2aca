"""How a deletion goes: at once, after a grace period, or when the last finalizer is gone. Pure.

``plan`` follows the real server step by step: the first DELETE of a bound, running pod only marks
it; a later one may only shorten; grace 0 marks and removes; finalizers keep any object.
"""

from __future__ import annotations

from dataclasses import dataclass

from devcluster.apiserver.decoding import prune
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.stamps import parse_time, time_text
from devcluster.apiserver.status import ApiError, Json, bad_request, conflict


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    grace: int | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False

    @classmethod
    def from_json(cls, body: Json) -> DeleteOptions:
        if body.get("kind") not in (None, "", "DeleteOptions"):
            raise bad_request(f"{body.get('kind')!s:.60} is no DeleteOptions")
        options = prune("V1DeleteOptions", body, kind="DeleteOptions", version="v1").obj
        grace = options.get("gracePeriodSeconds")
        preconditions = options.get("preconditions") or {}
        return cls(
            grace=None if grace is None else max(grace, 0) if grace >= 0 else 1,
            uid=preconditions.get("uid", ""),
            resource_version=preconditions.get("resourceVersion", ""),
            dry_run=bool(options.get("dryRun")),
        )


@dataclass(frozen=True, slots=True)
class Deletion:
    marked: Json | None
    """The object to write first (None: nothing to write)."""
    gone: bool
    """Whether the object is removed then."""


def check_preconditions(resource: Resource, obj: Json, options: DeleteOptions) -> ApiError | None:
    metadata = obj["metadata"]
    why = ""
    if options.uid and options.uid != metadata["uid"]:
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record "
            f"({metadata['uid']}). The object might have been deleted and then recreated"
        )
    elif options.resource_version and options.resource_version != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match "
            f"the ResourceVersion in record ({metadata['resourceVersion']}). "
            "The object might have been modified"
        )
    if not why:
        return None
    return conflict(resource.group, resource.plural, metadata["name"], why=why)


def plan(resource: Resource, obj: Json, options: DeleteOptions, *, now: float) -> Deletion:
    metadata = obj["metadata"]
    if resource.kind != "Pod":
        return _plain(obj, now=now)
    if metadata.get("deletionTimestamp"):
        return _again(obj, options)
    grace = pod_grace(obj, options.grace)
    marked = _marked(obj, deadline=now + grace, grace=grace)
    return Deletion(marked, gone=grace == 0 and not metadata.get("finalizers"))


def pod_grace(pod: Json, asked: int | None) -> int:
    """Seconds that this pod gets; nobody waits for a pod that runs nowhere."""
    spec = pod["spec"]
    done = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    if not spec.get("nodeName") or done:
        return 0
    grace: int = spec.get("terminationGracePeriodSeconds", 30) if asked is None else asked
    return grace


def _plain(obj: Json, *, now: float) -> Deletion:
    """Kinds without a grace period: only finalizers hold them back."""
    metadata = obj["metadata"]
    if not metadata.get("finalizers"):
        return Deletion(None, gone=True)
    if metadata.get("deletionTimestamp"):
        return Deletion(None, gone=False)
    return Deletion(_marked(obj, deadline=now, grace=0), gone=False)


def _again(pod: Json, options: DeleteOptions) -> Deletion:
    metadata = pod["metadata"]
    before = metadata.get("deletionGracePeriodSeconds", 0)
    held = bool(metadata.get("finalizers"))
    if options.grace is None or options.grace >= before:
        return Deletion(None, gone=before == 0 and not held)
    deadline = parse_time(metadata["deletionTimestamp"]) - before + options.grace
    marked = _marked(pod, deadline=deadline, grace=options.grace)
    return Deletion(marked, gone=options.grace == 0 and not held)


def _marked(obj: Json, *, deadline: float, grace: int) -> Json:
    metadata = {
        **obj["metadata"],
        "deletionTimestamp": time_text(deadline),
        "deletionGracePeriodSeconds": grace,
    }
    if "generation" in metadata and not obj["metadata"].get("deletionTimestamp"):
        metadata["generation"] += 1
    return {**obj, "metadata": metadata}


def finished(obj: Json) -> bool:
    """Whether an object that was just written has nothing left to wait for."""
    metadata = obj["metadata"]
    return (
        bool(metadata.get("deletionTimestamp"))
        and metadata.get("deletionGracePeriodSeconds", 0) == 0
        and not metadata.get("finalizers")
    )
