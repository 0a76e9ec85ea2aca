"""The verbs of the API on the store: create, get, list, update, patch, delete.

Invariant: a verb either refuses with ``ApiError`` and changes nothing, or is done when it returns;
nothing here waits, so every read-modify-write is atomic on one event loop. Bodies come in decoded
(``decoding``); objects that go out are the store's own and must not be changed by the caller.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

from devcluster.apiserver import clusterips, creation, deleting, updates, views
from devcluster.apiserver.deleting import DeleteOptions
from devcluster.apiserver.resources import NAMESPACES, SERVICES, Resource
from devcluster.apiserver.stamps import generated_name, time_text
from devcluster.apiserver.status import (
    ApiError,
    Cause,
    Json,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    invalid_value,
    not_found,
)
from devcluster.apiserver.store import Key, Store
from devcluster.apiserver.validation import validate
from shared.clock import Clock

MODIFIED_MEANWHILE = (
    "the object has been modified; please apply your changes to the latest version and try again"
)

SET_ON_CREATE = "resourceVersion should not be set on objects to be created"


@dataclass(frozen=True, slots=True)
class Target:
    """One object, or one sub-resource of it, by its URL."""

    resource: Resource
    namespace: str
    name: str
    subresource: str = ""

    @property
    def key(self) -> Key:
        return Key(self.resource.storage, self.namespace, self.name)

    def missing(self) -> Exception:
        return not_found(self.resource.group, self.resource.plural, self.name)


class Objects:
    def __init__(self, store: Store, clock: Clock, *, random_source: random.Random) -> None:
        self.store = store
        self.clock = clock
        self._random = random_source

    def get(self, target: Target) -> Json:
        return views.shown(target.resource, self._existing(target))

    def create(self, target: Target, obj: Json, *, dry_run: bool = False) -> Json:
        """Create ``obj`` (the caller's own, used up) in the namespace of ``target``."""
        resource = target.resource
        obj = views.stored(resource, obj)
        self._place(target, obj)
        creation.prepare(resource, obj)
        if resource == SERVICES:
            clusterips.assign(obj, self.store.list(SERVICES.storage))
        self._stamp(resource, obj["metadata"])
        self._refuse(resource, obj, validate(resource, obj))
        key = Key(resource.storage, target.namespace, obj["metadata"]["name"])
        if self.store.get(key) is not None:
            raise already_exists(resource.group, resource.plural, key.name)
        self._check_namespace(target, key.name)
        return views.shown(resource, obj if dry_run else self.store.put(key, obj))

    def update(
        self,
        target: Target,
        change: Callable[[Json], Json],
        *,
        uid: str = "",
        dry_run: bool = False,
    ) -> Json:
        """Write ``change(current)``, or nothing when that is the current object already.

        A ``resourceVersion`` or ``uid`` in the changed object must be the current one; ``uid``
        is what the caller knows beforehand, so that another object of the name is a conflict.
        """
        resource = target.resource
        old = self._existing(target)
        if uid and uid != old["metadata"]["uid"]:
            raise self._other_uid(target, uid, old["metadata"]["uid"])
        new = views.stored(resource, change(deepcopy(views.shown(resource, old))))
        self._check_identity(target, new["metadata"], old["metadata"])
        new = updates.prepare(resource, new, old, subresource=target.subresource)
        creation.complete(resource, new)
        causes = validate(resource, new) + updates.forbidden_changes(resource, new, old)
        self._refuse(resource, new, causes)
        if new == old or dry_run:
            return views.shown(resource, new)
        return views.shown(resource, self._write(target.key, new))

    def delete(self, target: Target, options: DeleteOptions) -> tuple[Json, bool]:
        """The object as it is now, and whether it is gone."""
        obj = self._existing(target)
        if target.resource == NAMESPACES and target.name in creation.IMMORTAL_NAMESPACES:
            why = "this namespace may not be deleted"
            raise forbidden(target.resource.group, target.resource.plural, target.name, why=why)
        refusal = deleting.check_preconditions(target.resource, obj, options)
        if refusal is not None:
            raise refusal
        plan = deleting.plan(target.resource, obj, options, now=self.clock.now())
        if target.resource == NAMESPACES:
            plan = creation.terminating(obj, now=self.clock.now())
        if options.dry_run:
            return plan.marked or obj, plan.gone
        if plan.marked is not None:
            obj = self.store.put(target.key, plan.marked)
        if plan.gone:
            obj = self.store.remove(target.key)
        return views.shown(target.resource, obj), plan.gone

    def exists(self, target: Target) -> bool:
        return self.store.get(target.key) is not None

    def rewrite(self, target: Target, obj: Json) -> None:
        """Write what the server itself decided (a binding, a phase), past the rules for users."""
        self.store.put(target.key, obj)

    def remove(self, target: Target) -> None:
        """Take an object away without further questions (end of a namespace, of an event)."""
        if self.exists(target):
            self.store.remove(target.key)

    def _write(self, key: Key, obj: Json) -> Json:
        """Write; what was only waiting for its last finalizer to go is removed at once."""
        written = self.store.put(key, obj)
        if deleting.finished(written) and key.storage != NAMESPACES.storage:
            return self.store.remove(key)
        return written

    def _existing(self, target: Target) -> Json:
        obj = self.store.get(target.key)
        if obj is None:
            raise target.missing()
        return obj

    def _place(self, target: Target, obj: Json) -> None:
        """Name and namespace from the URL and the body, which must agree."""
        metadata = obj["metadata"]
        if target.resource.namespaced:
            said = metadata.get("namespace") or target.namespace
            if said != target.namespace:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on "
                    "the request"
                )
            metadata["namespace"] = target.namespace
        else:
            metadata.pop("namespace", None)
        if target.name and metadata.setdefault("name", target.name) != target.name:
            raise self._other_name(target, metadata["name"])
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = generated_name(metadata["generateName"], self._random)
        if metadata.get("resourceVersion"):
            raise ApiError(500, "InternalError", SET_ON_CREATE)

    def _stamp(self, resource: Resource, metadata: Json) -> None:
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
            metadata.pop(field, None)
        metadata["uid"] = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        metadata["creationTimestamp"] = time_text(self.clock.now())
        metadata.pop("resourceVersion", None)
        if updates.has_generation(resource):
            metadata["generation"] = 1

    def _check_namespace(self, target: Target, name: str) -> None:
        if not target.resource.namespaced:
            return
        namespace = self.store.get(Key(NAMESPACES.storage, "", target.namespace))
        if namespace is None:
            raise not_found("", "namespaces", target.namespace)
        if namespace["metadata"].get("deletionTimestamp"):
            why = (
                f"unable to create new content in namespace {target.namespace} "
                "because it is being terminated"
            )
            raise forbidden(target.resource.group, target.resource.plural, name, why=why)

    def _check_identity(self, target: Target, new: Json, old: Json) -> None:
        resource = target.resource
        if new.get("name", target.name) != target.name:
            raise self._other_name(target, new["name"])
        if (new.get("namespace") or target.namespace) != target.namespace:
            raise bad_request(
                f"the namespace of the object ({new['namespace']}) does not match "
                f"the namespace on the URL ({target.namespace})"
            )
        new["name"] = target.name
        if target.namespace:
            new["namespace"] = target.namespace
        if new.get("uid") not in (None, "", old["uid"]):
            cause = invalid_value("metadata.uid", new["uid"], "field is immutable")
            raise invalid(resource.group, resource.kind, target.name, causes=[cause])
        version = new.get("resourceVersion")
        if version not in (None, "", "0", old["resourceVersion"]):
            raise conflict(resource.group, resource.plural, target.name, why=MODIFIED_MEANWHILE)
        if not version and resource.update_needs_version:
            cause = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(resource.group, resource.kind, target.name, causes=[cause])

    def _other_uid(self, target: Target, given: str, current: str) -> ApiError:
        why = f"Precondition failed: UID in precondition: {given}, UID in object meta: {current}"
        return conflict(target.resource.group, target.resource.plural, target.name, why=why)

    def _other_name(self, target: Target, name: str) -> Exception:
        return bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        )

    def _refuse(self, resource: Resource, obj: Json, causes: list[Cause]) -> None:
        if causes:
            name = obj["metadata"].get("name", "")
            raise invalid(resource.group, resource.kind, name, causes=causes)
