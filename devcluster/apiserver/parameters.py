"""Query parameters, each read once and checked: selectors, limits, versions, dry run."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from devcluster.apiserver.deleting import DeleteOptions
from devcluster.apiserver.listing import Query
from devcluster.apiserver.selectors import (
    FIELDS,
    METADATA_FIELDS,
    Predicate,
    parse_fields,
    parse_labels,
)
from devcluster.apiserver.status import (
    Cause,
    Json,
    bad_request,
    forbidden_field,
    invalid,
    unsupported_value,
)
from devcluster.apiserver.urls import Place
from devcluster.apiserver.watching import WatchQuery

_WATCH_SECONDS = (1800.0, 3600.0)


class Parameters:
    def __init__(self, query: Mapping[str, str]) -> None:
        self._query = query

    def flag(self, name: str) -> bool:
        return self._query.get(name, "").lower() in ("1", "true", "t")

    def number(self, name: str) -> int:
        text = self._query.get(name) or "0"
        if not text.isascii() or not text.isdigit():
            raise bad_request(f"{name}: Invalid value: {text!r:.40}: must be a whole number")
        return int(text)

    def dry_run(self) -> bool:
        value = self._query.get("dryRun", "")
        if value not in ("", "All"):
            cause = unsupported_value("dryRun", value, ("All",))
            raise invalid("meta.k8s.io", "CreateOptions", "", causes=[cause])
        return bool(value)

    def field_validation(self) -> str:
        value = self._query.get("fieldValidation") or "Warn"
        choices = ("Ignore", "Strict", "Warn")
        if value not in choices:
            cause = unsupported_value("fieldValidation", value, choices)
            raise invalid("meta.k8s.io", "CreateOptions", "", causes=[cause])
        return value

    def field_manager(self) -> str:
        return self._query.get("fieldManager", "")

    def list_query(self, place: Place) -> Query:
        match = self._query.get("resourceVersionMatch", "")
        version = self.number("resourceVersion")
        if match and "resourceVersion" not in self._query:
            text = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            raise _invalid_list(forbidden_field("resourceVersionMatch", text))
        return Query(
            place.resource,
            place.namespace,
            self._predicate(place),
            limit=self.number("limit"),
            token=self._query.get("continue", ""),
            version=version,
            exact=match == "Exact",
        )

    def watch_query(self, place: Place) -> WatchQuery:
        initial = self.flag("sendInitialEvents")
        if initial and self._query.get("resourceVersionMatch") != "NotOlderThan":
            text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            raise _invalid_list(forbidden_field("resourceVersionMatch", text))
        return WatchQuery(
            place.resource,
            place.namespace,
            self._predicate(place),
            version=self.number("resourceVersion"),
            bookmarks=self.flag("allowWatchBookmarks"),
            initial_events=initial,
        )

    def watch_seconds(self) -> float:
        """As asked, else half an hour to an hour, so that watches do not all end together."""
        return float(self.number("timeoutSeconds")) or random.uniform(*_WATCH_SECONDS)

    def delete_options(self, body: object) -> DeleteOptions:
        if not isinstance(body, dict):
            raise bad_request("DeleteOptions must be a JSON object")
        options = DeleteOptions.from_json(_with_query(body, self._query))
        return replace(options, dry_run=options.dry_run or self.dry_run())

    def _predicate(self, place: Place) -> Predicate:
        resource = place.resource
        allowed = (*METADATA_FIELDS, *FIELDS.get((resource.api_version, resource.plural), ()))
        labels = parse_labels(self._query.get("labelSelector", ""))
        fields = parse_fields(self._query.get("fieldSelector", ""), allowed)
        return lambda obj: labels(obj) and fields(obj)


def _with_query(body: Json, query: Mapping[str, str]) -> Json:
    """The grace period may come in the query as well; the body has the last word."""
    grace = query.get("gracePeriodSeconds", "")
    if not grace or body.get("gracePeriodSeconds") is not None:
        return body
    if not grace.lstrip("-").isdecimal():
        raise bad_request(f"gracePeriodSeconds: {grace!r:.40} is no number")
    return {**body, "gracePeriodSeconds": int(grace)}


def _invalid_list(cause: Cause) -> Exception:
    return invalid("meta.k8s.io", "ListOptions", "", causes=[cause])
