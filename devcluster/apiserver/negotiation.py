"""Which form of an object a client asked for in ``Accept``: whole, as a table, metadata only. Pure.

JSON is the only encoding; offers of protobuf and the like are passed over, and a client that takes
nothing else gets 406.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from devcluster.apiserver.status import not_acceptable


class Form(Enum):
    WHOLE = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"


@dataclass(frozen=True, slots=True)
class Accepted:
    form: Form
    meta_version: str = "v1"
    """The version of ``meta.k8s.io`` that tables and metadata are given in."""


def negotiate(accept: str) -> Accepted:
    """The first offer that can be served."""
    if not accept.strip():
        return Accepted(Form.WHOLE)
    for offer in accept.split(","):
        media, *parameters = (part.strip() for part in offer.split(";"))
        if media.lower() not in ("application/json", "application/*", "*/*"):
            continue
        given = dict(part.split("=", 1) for part in parameters if "=" in part)
        form = _form(given)
        if form is not None:
            return Accepted(form, given.get("v", "v1"))
    raise not_acceptable()


def _form(given: dict[str, str]) -> Form | None:
    if not given.get("as"):
        return Form.WHOLE
    if given.get("g") != "meta.k8s.io" or given.get("v") not in ("v1", "v1beta1"):
        return None
    try:
        return Form(given["as"])
    except ValueError:
        return None
