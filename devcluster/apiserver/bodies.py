"""Request bodies: read, decoded into an object of the kind of the URL, or into a patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from devcluster.apiserver import decoding, patching
from devcluster.apiserver.decoding import Decoded
from devcluster.apiserver.parameters import Parameters
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.status import Json, bad_request, unsupported_media_type


async def read(request: web.Request) -> Any:
    content_type = request.headers.get("Content-Type", "application/json")
    return decoding.parse(await request.read(), content_type)


def decode(resource: Resource, body: Any, field_validation: str) -> Decoded:
    """Unknown fields refuse the body (Strict), or are left to be warned about, or ignored."""
    decoded = decoding.decode(resource, body)
    if decoded.unknown and field_validation == "Strict":
        listed = ", ".join(f'unknown field "{path}"' for path in decoded.unknown[:50])
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a '
            f"{resource.kind}: strict decoding error: {listed}"
        )
    if field_validation == "Ignore":
        decoded.unknown.clear()
    return decoded


@dataclass(frozen=True, slots=True)
class Patch:
    body: Any
    media: str

    @property
    def creates(self) -> bool:
        """Whether a missing object is created from it."""
        return self.media == patching.APPLY

    def applied(self, current: Json, model: str) -> Json:
        return patching.apply(current, self.body, media=self.media, model=model)


async def read_patch(request: web.Request, parameters: Parameters) -> Patch:
    media = request.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if media not in patching.PATCH_TYPES:
        raise unsupported_media_type(media, patching.PATCH_TYPES)
    encoding = "application/yaml" if media == patching.APPLY else "application/json"
    body = decoding.parse(await request.read(), encoding)
    if media == patching.APPLY and not parameters.field_manager():
        raise bad_request(
            'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: '
            "is required for apply patch"
        )
    return Patch(body, media)
