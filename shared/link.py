"""The MQTT 5 link as both programs see it; ``shared/paho_link.py`` is the real one.

A ``Connection`` is one CONNECT to its end: nothing of it survives, because whoever sends keeps
its own durable state (the agent's outbox, the hub's desired sets) and sends again what was not
acknowledged. Everything is QoS 1.

Invariants: messages are given in the order in which they came; a message is acknowledged only by
``ack``, so what was not stored comes again; ``publish`` queues in the order of its calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from shared.errors import PermanentError


class PublishRefused(PermanentError):
    """The broker answered PUBLISH with a failure that a repeat will not change (not authorized)."""


@dataclass(frozen=True, slots=True)
class Will:
    topic: str
    payload: bytes
    delay: int
    """Seconds the broker waits before it publishes the Will; a reconnect within them cancels."""


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    client_id: str
    clean_start: bool
    session_expiry: int
    """Seconds the broker keeps the session after a disconnect; 0 = not at all."""
    keep_alive: int
    """Seconds; the broker calls us dead after one and a half of it."""
    receive_maximum: int
    will: Will | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    filter: str
    retain_handling: int = 0
    """MQTT 5: 0 send retained always, 1 only for a new subscription, 2 never."""
    no_local: bool = False
    """Not what this client itself publishes."""


@dataclass(frozen=True, slots=True)
class Message:
    topic: str
    payload: bytes
    retained: bool
    """Sent because of a subscription, not because of a new PUBLISH."""
    packet_id: int
    response_topic: str = ""
    correlation: bytes = b""


class Connection(Protocol):
    session_present: bool
    """The broker still had our session: its queue and its subscriptions."""
    max_packet_size: int
    """Most bytes of a PUBLISH that the broker takes."""

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Returns after SUBACK. Raises PermanentError naming a filter that was refused."""
        ...

    async def unsubscribe(self, filters: Sequence[str]) -> None: ...

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expiry: int | None = None,
        response_topic: str = "",
        correlation: bytes = b"",
    ) -> Awaitable[None]:
        """Queue a PUBLISH now; the awaitable ends at its PUBACK.

        Raises TooLarge at once when it cannot fit ``max_packet_size``; the awaitable raises
        LinkError when the connection ends first and PublishRefused when the broker says no.
        ``expiry`` is the Message Expiry Interval in seconds.
        """
        ...

    def messages(self) -> AsyncIterator[Message]:
        """What arrives, until the connection ends (then LinkError). One reader only."""
        ...

    def ack(self, message: Message) -> None:
        """PUBACK; before it the broker sends the message again after a reconnect."""
        ...


class Link(Protocol):
    def connect(self, options: ConnectOptions) -> AbstractAsyncContextManager[Connection]:
        """One connection; leaving the context disconnects (normally, so without the Will).

        Entering raises LinkError with the broker's or the system's reason in plain words.
        """
        ...


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how to be let in; files are read anew at every connect."""

    host: str
    port: int
    tls: bool = False
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    """Empty = the system's trust store."""
    cert_file: str = ""
    key_file: str = field(default="", repr=False)

    @property
    def login(self) -> str:
        """The settings that say who we are."""
        if self.username:
            return "mqtt-username and mqtt-password-file"
        return "mqtt-cert" if self.cert_file else "mqtt-username, of which there is none"

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"
