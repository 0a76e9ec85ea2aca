"""One page of a list: filtered, cut at ``limit``, consistent from page to page. Pure.

A continue token names the version of the first page and the last key given; later pages are served
from the state at that version (rebuilt from the history), or refused with 410 when that is gone.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass

from devcluster.apiserver import views
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.selectors import Predicate
from devcluster.apiserver.status import ApiError, Json, bad_request, from_the_future
from devcluster.apiserver.store import Expired, Store

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You can start a new list without the continue parameter."
)


@dataclass(frozen=True, slots=True)
class Page:
    items: list[Json]
    version: int
    token: str = ""
    remaining: int = 0

    @property
    def metadata(self) -> Json:
        metadata: Json = {"resourceVersion": str(self.version)}
        if self.token:
            metadata |= {"continue": self.token, "remainingItemCount": self.remaining}
        return metadata


@dataclass(frozen=True, slots=True)
class Query:
    resource: Resource
    namespace: str
    predicate: Predicate
    limit: int = 0
    token: str = ""
    version: int = 0
    """The least version that is fresh enough; 0 takes any."""
    exact: bool = False


def read_page(store: Store, query: Query) -> Page:
    if query.version > store.version:
        raise from_the_future(query.version, store.version)
    version, after = store.version, ("", "")
    if query.token:
        version, after = _read_token(query.token)
    elif query.exact:
        version = query.version
    shown = (views.shown(query.resource, obj) for obj in _at(store, query, version))
    matching = [obj for obj in shown if _key(obj) > after and query.predicate(obj)]
    if not query.limit or len(matching) <= query.limit:
        return Page(matching, version)
    items = matching[: query.limit]
    token = _write_token(version, _key(items[-1]))
    return Page(items, version, token, len(matching) - query.limit)


def _at(store: Store, query: Query, version: int) -> list[Json]:
    storage, namespace = query.resource.storage, query.namespace
    if version == store.version:
        return store.list(storage, namespace)
    try:
        later = list(store.since(storage, version))
    except Expired as error:
        raise ApiError(410, "Expired", _TOO_OLD) from error
    objects = {_key(obj): obj for obj in store.list(storage)}
    for change in reversed(later):
        key = (change.key.namespace, change.key.name)
        if change.before is None:
            objects.pop(key, None)
        else:
            objects[key] = change.before
    return [objects[key] for key in sorted(objects) if not namespace or key[0] == namespace]


def _key(obj: Json) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _write_token(version: int, after: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([version, *after]).encode()).decode()


def _read_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        version, namespace, name = json.loads(base64.urlsafe_b64decode(token))
        return int(version), (str(namespace), str(name))
    except (ValueError, TypeError, binascii.Error) as error:
        raise bad_request("continue key is not valid") from error
