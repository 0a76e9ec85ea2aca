"""Refusals as Kubernetes says them: ``ApiError`` is one ``Status`` object of ``kind: Status``.

Every refusal in this package is an ``ApiError``; ``http`` turns it into the answer, ``watching``
into an ERROR event. The reasons and texts are those that clients match on, so they follow the
real server to the letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import KubetideError

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cause:
    """What is wrong with one field of a refused object."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    def as_json(self) -> Json:
        return {"reason": self.reason, "message": self.message, "field": self.field}


def required(field: str, text: str = "") -> Cause:
    return Cause(
        field, f"Required value: {text}" if text else "Required value", "FieldValueRequired"
    )


def invalid_value(field: str, value: object, text: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return Cause(field, f"Invalid value: {shown}: {text}")


def unsupported_value(field: str, value: object, allowed: Sequence[str]) -> Cause:
    choices = ", ".join(f'"{choice}"' for choice in allowed)
    text = f'Unsupported value: "{value}": supported values: {choices}'
    return Cause(field, text, "FieldValueNotSupported")


def duplicate_value(field: str, value: object) -> Cause:
    return Cause(field, f'Duplicate value: "{value}"', "FieldValueDuplicate")


def forbidden_field(field: str, text: str) -> Cause:
    return Cause(field, f"Forbidden: {text}", "FieldValueForbidden")


class ApiError(KubetideError):
    """One refused request: HTTP ``code``, machine ``reason``, text, details."""

    def __init__(
        self, code: int, reason: str, message: str, *, details: Json | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details or {}

    def as_json(self) -> Json:
        status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status


def success(name: str, group: str, kind: str, *, uid: str) -> Json:
    """The answer to a deletion that is complete."""
    details = {"name": name, "group": group, "kind": kind, "uid": uid}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }


def _qualified(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def _details(group: str, plural: str, name: str) -> Json:
    details = {"name": name, "group": group, "kind": plural}
    return {key: value for key, value in details.items() if value}


def not_found(group: str, plural: str, name: str) -> ApiError:
    message = f'{_qualified(group, plural)} "{name}" not found'
    return ApiError(404, "NotFound", message, details=_details(group, plural, name))


def no_such_path() -> ApiError:
    message = "the server could not find the requested resource"
    return ApiError(404, "NotFound", message)


def already_exists(group: str, plural: str, name: str) -> ApiError:
    message = f'{_qualified(group, plural)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details=_details(group, plural, name))


def conflict(group: str, plural: str, name: str, *, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {_qualified(group, plural)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=_details(group, plural, name))


def forbidden(group: str, plural: str, name: str, *, why: str) -> ApiError:
    message = f'{_qualified(group, plural)} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", message, details=_details(group, plural, name))


def invalid(group: str, kind: str, name: str, *, causes: Sequence[Cause]) -> ApiError:
    """422: the object is well-formed and wrong; every wrong field is named."""
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{kind}.{group}" if group else kind
    details = _details(group, kind, name) | {"causes": [cause.as_json() for cause in causes]}
    return ApiError(422, "Invalid", f'{qualified} "{name}" is invalid: {text}', details=details)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unprocessable(message: str) -> ApiError:
    return ApiError(422, "Invalid", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message)


def not_acceptable() -> ApiError:
    message = "only the following media types are accepted: application/json"
    return ApiError(406, "NotAcceptable", message)


def unsupported_media_type(got: str, accepted: Sequence[str]) -> ApiError:
    listed = ", ".join(accepted)
    message = (
        f"the body of the request was in an unknown format ({got}) - "
        f"accepted media types include: {listed}"
    )
    return ApiError(415, "UnsupportedMediaType", message)


def too_large(limit: int) -> ApiError:
    message = f"Request entity is too large: limit is {limit}"
    return ApiError(413, "RequestEntityTooLarge", message)


def expired(asked: int, oldest: int) -> ApiError:
    message = f"too old resource version: {asked} ({oldest})"
    return ApiError(410, "Expired", message)


def from_the_future(asked: int, current: int) -> ApiError:
    message = f"Too large resource version: {asked}, current: {current}"
    details: Json = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    return ApiError(504, "Timeout", f"Timeout: {message}", details=details)
