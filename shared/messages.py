"""Every message of the protocol as a value, and how each becomes a payload and back.

Owns the meaning of the fields (docs/protocol.md has the table). Each class has ``encode()`` and
``decode(payload)``; ``decode`` takes hostile bytes and raises ``WireError`` and nothing else.
Nothing here knows a topic's direction, a broker or a database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from shared import codec
from shared.codec import DIGEST_SIZE, MAX_SAID, MAX_SHORT
from shared.errors import WireError
from shared.objects import Json, ObjectKey
from shared.wirefields import Fields

MAX_ENTRIES = 10_000
"""Most entries of one inventory."""
MOST_GRACE = 2**31 - 1
"""Seconds that a pod may take to stop."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a node should have for one key: the body with this digest.

    ``grace`` is set when the object is being deleted: seconds the pod may take to stop.
    """

    digest: bytes
    grace: int | None = None


Entries = Mapping[ObjectKey, Entry]


def list_digest(entries: Entries) -> bytes:
    """Digest of a whole desired set: what the hub will sign and the agent compares."""
    return codec.digest(codec.pack([_entry_row(key, entries[key]) for key in sorted(entries)]))


def _entry_row(key: ObjectKey, entry: Entry) -> list[Any]:
    return [key.kind, key.namespace, key.name, entry.digest, entry.grace]


@dataclass(frozen=True)
class Inventory:
    """The complete list of what a node should have. Absence from it is the only deletion order."""

    revision: int
    entries: Entries

    @cached_property
    def digest(self) -> bytes:
        return list_digest(self.entries)

    def encode(self) -> bytes:
        rows = [_entry_row(key, self.entries[key]) for key in sorted(self.entries)]
        return codec.encode({"r": self.revision, "e": rows, "d": self.digest})

    @classmethod
    def decode(cls, payload: bytes) -> Inventory:
        fields = Fields(codec.decode(payload))
        entries: dict[ObjectKey, Entry] = {}
        for row in fields.rows("e", width=5, most=MAX_ENTRIES):
            entries[_key(row)] = Entry(_digest(row[3]), _grace(row[4]))
        inventory = cls(fields.natural("r"), entries)
        if inventory.digest != fields.blob("d", DIGEST_SIZE):
            raise WireError("bad-digest", "the list is not what its digest says")
        return inventory


@dataclass(frozen=True)
class Change:
    """From one inventory to the next, for an agent that is in step; retained as the list's head.

    Bodies that fit ride along, so that a connected agent needs nothing else; it applies the
    change only to revision ``base`` and only when the result has ``digest``, and otherwise asks
    the broker for the complete inventory.
    """

    base: int
    revision: int
    digest: bytes
    put: Entries = field(default_factory=dict)
    drop: frozenset[ObjectKey] = frozenset()
    bodies: Mapping[ObjectKey, bytes] = field(default_factory=dict)
    """Packed bodies of some of ``put``."""

    @classmethod
    def between(cls, old: Inventory, new: Inventory, bodies: Mapping[ObjectKey, bytes]) -> Change:
        put = {key: entry for key, entry in new.entries.items() if old.entries.get(key) != entry}
        return cls(
            base=old.revision,
            revision=new.revision,
            digest=new.digest,
            put=put,
            drop=frozenset(old.entries.keys() - new.entries.keys()),
            bodies={key: body for key, body in bodies.items() if key in put},
        )

    def apply_to(self, entries: Entries) -> Inventory:
        """The inventory after this change, or WireError when it is not the one it promises."""
        result = {key: entry for key, entry in entries.items() if key not in self.drop}
        result.update(self.put)
        inventory = Inventory(self.revision, result)
        if inventory.digest != self.digest:
            raise WireError("out-of-step", f"change {self.base} to {self.revision}")
        return inventory

    def encode(self) -> bytes:
        put = []
        for key in sorted(self.put):
            entry, body = self.put[key], self.bodies.get(key)
            row = [key.kind, key.namespace, key.name, None if body else entry.digest, entry.grace]
            put.append([*row, codec.unpack(body) if body else None])
        drop = [[key.kind, key.namespace, key.name] for key in sorted(self.drop)]
        return codec.encode(
            {"b": self.base, "r": self.revision, "d": self.digest, "x": drop, "p": put}
        )

    @classmethod
    def decode(cls, payload: bytes) -> Change:
        fields = Fields(codec.decode(payload))
        put: dict[ObjectKey, Entry] = {}
        bodies: dict[ObjectKey, bytes] = {}
        for row in fields.rows("p", width=6, most=MAX_ENTRIES):
            key = _key(row)
            if row[5] is None:
                put[key] = Entry(_digest(row[3]), _grace(row[4]))
                continue
            body = codec.pack(row[5])
            put[key], bodies[key] = Entry(codec.digest(body), _grace(row[4])), body
        drop = frozenset(_key(row) for row in fields.rows("x", width=3, most=MAX_ENTRIES))
        return cls(
            base=fields.natural("b"),
            revision=fields.natural("r"),
            digest=fields.blob("d", DIGEST_SIZE),
            put=put,
            drop=drop,
            bodies=bodies,
        )


@dataclass(frozen=True, slots=True)
class DesiredObject:
    """One object's body, retained on its own topic; proven by its digest."""

    key: ObjectKey
    body: bytes

    @property
    def digest(self) -> bytes:
        return codec.digest(self.body)

    def encode(self) -> bytes:
        return codec.encode({"k": str(self.key), "d": self.digest, "b": self.body})

    @classmethod
    def decode(cls, payload: bytes) -> DesiredObject:
        fields = Fields(codec.decode(payload))
        found = cls(ObjectKey.parse(fields.text("k", 600)), fields.blob("b"))
        if found.digest != fields.blob("d", DIGEST_SIZE):
            raise WireError("bad-digest", str(found.key))
        if not isinstance(codec.unpack(found.body), dict):
            raise WireError("bad-body", str(found.key))
        return found


@dataclass(frozen=True, slots=True)
class Session:
    """Birth or death certificate of one agent connection; the death is also the Will.

    A death counts only for the birth with the same ``instance`` and ``counter``: the late Will
    of an older connection cannot end a newer one. A death with a question is none: it asks
    whether any other agent of this name lives, and who does repeats its birth with the question.
    One without an instance comes from a hub, which asks whether there is an agent at all.
    """

    online: bool
    instance: str
    """Random, made when the device's database was made: tells two devices with one name apart."""
    counter: int
    """Persisted, +1 for every CONNECT."""
    boot: str = ""
    version: str = ""
    revision: int = 0
    digest: bytes = b""
    missing: tuple[ObjectKey, ...] = ()
    """Entries for which the broker had no body with the right digest."""
    reported: int = 0
    """Sequence of the newest report that the broker has acknowledged."""
    about: int = 0
    """The ``mark`` of the object that this report is about."""
    question: int = 0
    """A random number: of the question, or of the one that this birth answers."""

    @property
    def asks(self) -> bool:
        return not self.online and self.question > 0

    @property
    def from_hub(self) -> bool:
        return self.asks and not self.instance

    def same_connection(self, other: Session) -> bool:
        return (self.instance, self.counter) == (other.instance, other.counter)

    def began_anew(self, last: Session) -> bool:
        """Whether this is of another device of that name, of another boot (a death names none), or
        of one that was set back to an old image."""
        same_boot = not self.online or self.boot == last.boot
        return self.instance != last.instance or not same_boot or self.counter < last.counter

    def encode(self) -> bytes:
        certificate = {"i": self.instance, "c": self.counter, "o": self.online}
        if self.asks:
            return codec.encode({**certificate, "t": self.boot, "q": self.question})
        if not self.online:
            return codec.encode(certificate)
        missing = [str(key) for key in self.missing]
        details = {"t": self.boot, "v": self.version, "r": self.revision, "d": self.digest}
        reported = {"s": self.reported, "a": self.about} if self.reported else {}
        answer = {"q": self.question} if self.question else {}
        return codec.encode({**certificate, **details, "m": missing, **reported, **answer})

    @classmethod
    def decode(cls, payload: bytes) -> Session:
        fields = Fields(codec.decode(payload, most=MAX_SAID))
        birth = cls(fields.flag("o"), fields.text("i", 64), fields.natural("c"))
        question = fields.natural_or_zero("q")
        if not birth.online:
            boot = fields.text("t", 64) if question else ""
            return cls(False, birth.instance, birth.counter, boot=boot, question=question)
        return cls(
            *(birth.online, birth.instance, birth.counter),
            boot=fields.text("t", 64),
            version=fields.text("v", 64),
            revision=fields.natural("r"),
            digest=fields.blob("d"),
            missing=tuple(ObjectKey.parse(text) for text in fields.texts("m", MAX_ENTRIES)),
            reported=fields.natural_or_zero("s"),
            about=fields.natural_or_zero("a"),
            question=question,
        )


@dataclass(frozen=True, slots=True)
class ReportedEvent:
    """What becomes a Kubernetes Event about the reported object; repeated ones are counted."""

    type: str
    """Normal or Warning."""
    reason: str
    message: str
    first: int
    """Unix seconds by the device's clock."""
    last: int
    count: int = 1
    field_path: str = ""
    """For a container: ``spec.containers{name}``."""
    order: int = 0
    """0 to 255: its place among those of its object that came first in the same second."""

    @property
    def identity(self) -> tuple[str, ...]:
        """The same for everything that is one Event with a count, however its words go on."""
        message = COMBINED if self.message.startswith(COMBINED) else self.message
        return (self.type, self.reason, message, self.field_path)


COMBINED = "(combined from similar events): "
"""How the message begins of an Event that stands for many which differ in their words only."""
MAX_EVENTS = 32


@dataclass(frozen=True, slots=True)
class Report:
    """Newest status of one object, with its recent Events; retained, newest wins.

    Events ride here because the retained report is then also the queue of Events: bounded,
    coalesced, and complete for a hub that was away.
    """

    key: ObjectKey
    uid: str
    sequence: int
    """Grows with every report of this device; never reused."""
    applied: int
    """Revision of the inventory that the device had applied when it wrote this."""
    status: Json
    events: tuple[ReportedEvent, ...] = ()
    finished: bool = False
    """A pod that is being deleted has stopped and left nothing behind."""

    def encode(self) -> bytes:
        message = {
            "k": str(self.key),
            "u": self.uid,
            "n": self.sequence,
            "a": self.applied,
            "f": self.finished,
            "e": [_event_row(event) for event in self.events],
            "s": self.status,
        }
        orders = bytes(min(event.order, 255) for event in self.events)
        return codec.encode_words(message | ({"o": orders} if any(orders) else {}))

    @classmethod
    def decode(cls, payload: bytes, *, most: int = MAX_SAID) -> Report:
        """``most``: more bytes, decompressed, only for the list of a device's static pods."""
        fields = Fields(codec.decode(payload, most=most))
        rows = fields.rows("e", width=7, most=MAX_EVENTS)
        orders = fields.bytes_or_zeros("o", len(rows))
        return cls(
            key=ObjectKey.parse(fields.text("k", 600)),
            uid=fields.text("u", 64),
            sequence=fields.natural("n"),
            applied=fields.natural("a"),
            status=fields.json("s"),
            events=tuple(map(_event, rows, orders)),
            finished=fields.flag("f"),
        )


@dataclass(frozen=True, slots=True)
class HubPresence:
    """Whether a hub replica is there; the offline form is that replica's Will."""

    online: bool
    replica: str
    since: int

    def encode(self) -> bytes:
        return codec.encode({"o": self.online, "n": self.replica, "t": self.since})

    @classmethod
    def decode(cls, payload: bytes) -> HubPresence:
        fields = Fields(codec.decode(payload, most=MAX_SHORT))
        return cls(fields.flag("o"), fields.text("n", 300), fields.natural("t"))


def _event_row(event: ReportedEvent) -> list[Any]:
    times = [event.first, event.last - event.first, event.count]
    return [event.type, event.reason, event.message, event.field_path, *times]


def _event(row: list[Any], order: int) -> ReportedEvent:
    texts, numbers = row[:4], row[4:]
    if not all(isinstance(text, str) and len(text) <= 4096 for text in texts):
        raise WireError("bad-field", "an event's text")
    if not all(type(number) is int and 0 <= number < 2**53 for number in numbers):
        raise WireError("bad-field", "an event's number")
    kind, reason, message, path = texts
    if kind not in ("Normal", "Warning") or not reason:
        raise WireError("bad-field", f"an event of type {kind!r:.40}")
    first, lasted, count = numbers
    return ReportedEvent(kind, reason, message, first, first + lasted, max(count, 1), path, order)


def _key(row: list[Any]) -> ObjectKey:
    if not all(isinstance(part, str) for part in row[:3]):
        raise WireError("bad-key", "not text")
    return ObjectKey(*row[:3])


def _digest(value: Any) -> bytes:
    if not isinstance(value, bytes) or len(value) != DIGEST_SIZE:
        raise WireError("bad-field", "a digest")
    return value


def _grace(value: Any) -> int | None:
    if value is None or (type(value) is int and 0 <= value <= MOST_GRACE):
        return value
    raise WireError("bad-field", "a grace period")
