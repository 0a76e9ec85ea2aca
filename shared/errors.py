"""The whole error tree. An adapter translates its library's exceptions into it, once.

KubetideError
├── TemporaryError      try again after ``delay`` seconds (None = the caller backs off)
│   ├── LinkError       the broker is away, refused us for now, or did not acknowledge in time
│   ├── KubeError       the API server is away or overloaded (``status`` when it answered)
│   └── StoreBusy       the device's database cannot be written now (disk full, read-only)
└── PermanentError      the same input can never work; say so and go on without it
    ├── WireError       bytes that are not a message of ours
    ├── TooLarge        a message over the broker's packet limit
    ├── KubeRefused     the API server said no: 400, 403, 404, 409, 422 (``status``)
    └── SettingsError   a user's mistake: names the key, the value and the way out

Whoever handles an error logs it, with the ids bound; whoever passes it on does not.
"""

from __future__ import annotations


class KubetideError(Exception):
    """Base of everything this project raises on purpose."""


class TemporaryError(KubetideError):
    """Worth another try; ``delay`` is the least wait in seconds, None when nobody said."""

    def __init__(self, message: str, *, delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class PermanentError(KubetideError):
    """The same input will fail again."""


class LinkError(TemporaryError):
    """The MQTT broker is away, refused for now, or did not acknowledge."""


class StoreBusy(TemporaryError):
    """The device's database cannot be written now."""


class KubeError(TemporaryError):
    """The API server is away, overloaded or asks to wait; ``status`` 0 = it did not answer."""

    def __init__(self, message: str, *, status: int = 0, delay: float | None = None) -> None:
        super().__init__(message, delay=delay)
        self.status = status


class KubeRefused(PermanentError):
    """The API server understood and refused; ``reason`` is its machine word (Conflict, …)."""

    def __init__(self, message: str, *, status: int, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class WireError(PermanentError):
    """Bytes that are not a valid message; ``reason`` is a short word for the counter."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class TooLarge(PermanentError):
    """A message over the broker's Maximum Packet Size."""


class SettingsError(PermanentError):
    """A wrong setting; the text names the key, the value and the way out."""
