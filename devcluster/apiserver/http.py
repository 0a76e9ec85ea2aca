"""HTTP to verbs: reads a request, calls ``objects``, ``listing`` or ``watching``, answers.

Every request ends in exactly one answer; a refusal is a ``Status``. Bodies are bounded by the
application (``MAX_BODY``). Only loopback is meant to reach this.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web

from devcluster.apiserver import bodies, discovery, subresources
from devcluster.apiserver.access import HEALTH_PATHS, OPEN_PATHS, Access
from devcluster.apiserver.answers import Answers
from devcluster.apiserver.listing import read_page
from devcluster.apiserver.objects import Objects
from devcluster.apiserver.parameters import Parameters
from devcluster.apiserver.status import (
    ApiError,
    Json,
    method_not_allowed,
    success,
    too_large,
    unauthorized,
)
from devcluster.apiserver.urls import Place, parse
from devcluster.apiserver.watching import stream

log = structlog.get_logger()

MAX_BODY = 3 * 1024 * 1024


class Handler:
    def __init__(self, objects: Objects, access: Access, *, stopping: asyncio.Event) -> None:
        self._objects = objects
        self._access = access
        self._stopping = stopping

    async def handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except ApiError as error:
            return _json(error.as_json(), error.code)
        except web.HTTPRequestEntityTooLarge:
            refusal = too_large(MAX_BODY)
            return _json(refusal.as_json(), refusal.code)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("request failed", method=request.method, path=request.path)
            refusal = ApiError(500, "InternalError", f"Internal error occurred: {error!r:.200}")
            return _json(refusal.as_json(), refusal.code)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path in HEALTH_PATHS:
            return web.Response(text="ok")
        authorization = request.headers.get("Authorization", "")
        known = path in OPEN_PATHS or self._access.allows(
            authorization, now=self._objects.clock.now()
        )
        if not known:
            raise unauthorized()
        described = discovery.document(path)
        if described is not None:
            return _json(described)
        place = parse(path)
        verb = _VERBS.get((request.method, bool(place.name)))
        if verb is None:
            raise method_not_allowed()
        return await verb(self, request, place)

    async def _read(self, request: web.Request, place: Place) -> web.StreamResponse:
        if place.subresource and not _keeps_state(place):
            raise method_not_allowed()
        answers = self._answers(request)
        return _json(answers.one(self._objects.get(place.target), place.resource))

    async def _list(self, request: web.Request, place: Place) -> web.StreamResponse:
        parameters = Parameters(request.query)
        if parameters.flag("watch"):
            return await self._watch(request, place, parameters)
        page = read_page(self._objects.store, parameters.list_query(place))
        return _json(self._answers(request).page(page, place.resource))

    async def _watch(
        self, request: web.Request, place: Place, parameters: Parameters
    ) -> web.StreamResponse:
        query = parameters.watch_query(place)
        answers = self._answers(request)
        batches = stream(
            self._objects.store,
            query,
            clock=self._objects.clock,
            timeout=parameters.watch_seconds(),
            stopping=self._stopping,
        )
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            async for events in batches:
                await response.write(answers.events(events, place.resource))
            await response.write_eof()
        finally:
            await batches.aclose()
        return response

    async def _create(self, request: web.Request, place: Place) -> web.StreamResponse:
        parameters = Parameters(request.query)
        body = await bodies.read(request)
        if place.subresource:
            answer = subresources.create(self._objects, self._access, place, body)
            return _json(answer, 201)
        decoded = bodies.decode(place.resource, body, parameters.field_validation())
        created = self._objects.create(place.target, decoded.obj, dry_run=parameters.dry_run())
        return self._written(request, place, created, code=201, warnings=decoded.unknown)

    async def _update(self, request: web.Request, place: Place) -> web.StreamResponse:
        parameters = Parameters(request.query)
        body = await bodies.read(request)
        decoded = bodies.decode(place.resource, body, parameters.field_validation())
        if place.resource.create_on_update and not self._objects.exists(place.target):
            created = self._objects.create(place.target, decoded.obj, dry_run=parameters.dry_run())
            return self._written(request, place, created, code=201, warnings=decoded.unknown)
        updated = self._objects.update(
            place.target,
            lambda _: decoded.obj,
            uid=decoded.obj["metadata"].get("uid", ""),
            dry_run=parameters.dry_run(),
        )
        return self._written(request, place, updated, code=200, warnings=decoded.unknown)

    async def _patch(self, request: web.Request, place: Place) -> web.StreamResponse:
        parameters = Parameters(request.query)
        patch = await bodies.read_patch(request, parameters)
        if patch.creates and not self._objects.exists(place.target):
            decoded = bodies.decode(place.resource, patch.body, parameters.field_validation())
            created = self._objects.create(place.target, decoded.obj, dry_run=parameters.dry_run())
            return self._written(request, place, created, code=201, warnings=decoded.unknown)
        warnings: list[str] = []

        def change(current: Json) -> Json:
            patched = patch.applied(current, place.resource.model)
            decoded = bodies.decode(place.resource, patched, parameters.field_validation())
            warnings.extend(decoded.unknown)
            return decoded.obj

        updated = self._objects.update(place.target, change, dry_run=parameters.dry_run())
        return self._written(request, place, updated, code=200, warnings=warnings)

    async def _delete(self, request: web.Request, place: Place) -> web.StreamResponse:
        if place.subresource:
            raise method_not_allowed()
        options = Parameters(request.query).delete_options(await bodies.read(request))
        resource = place.resource
        obj, gone = self._objects.delete(place.target, options)
        if resource.returns_deleted or not gone:
            return _json(self._answers(request).one(obj, resource))
        metadata = obj["metadata"]
        return _json(
            success(metadata["name"], resource.group, resource.plural, uid=metadata["uid"])
        )

    async def _delete_all(self, request: web.Request, place: Place) -> web.StreamResponse:
        parameters = Parameters(request.query)
        options = parameters.delete_options(await bodies.read(request))
        page = read_page(self._objects.store, parameters.list_query(place))
        for obj in page.items:
            self._objects.delete(subresources.target_of(place.resource, obj), options)
        return _json(self._answers(request).page(page, place.resource))

    def _answers(self, request: web.Request) -> Answers:
        return Answers.asked(
            request.headers.get("Accept", ""),
            include=request.query.get("includeObject", ""),
            now=self._objects.clock.now(),
        )

    def _written(
        self, request: web.Request, place: Place, obj: Json, *, code: int, warnings: list[str]
    ) -> web.Response:
        response = _json(self._answers(request).one(obj, place.resource), code)
        for path in warnings:
            response.headers.add("Warning", f'299 - "unknown field \\"{path[:200]}\\""')
        return response


def _keeps_state(place: Place) -> bool:
    return place.subresource == "status"


def _json(value: Any, code: int = 200) -> web.Response:
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return web.Response(body=body + b"\n", status=code, content_type="application/json")


Verb = Callable[[Handler, web.Request, Place], Awaitable[web.StreamResponse]]

_VERBS: dict[tuple[str, bool], Verb] = {
    ("GET", True): Handler._read,
    ("GET", False): Handler._list,
    ("POST", False): Handler._create,
    ("POST", True): Handler._create,
    ("PUT", True): Handler._update,
    ("PATCH", True): Handler._patch,
    ("DELETE", True): Handler._delete,
    ("DELETE", False): Handler._delete_all,
}
"""(method, whether the URL names an object) → what answers it."""
