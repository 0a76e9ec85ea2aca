"""The retained messages of one node, and an agent that reads them, without any time or wire."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from cloudhub.fleet.fleet import Wanted
from cloudhub.fleet.publishing import Applied, Facts, Head, Known, Plan, plan
from cloudhub.fleet.trimming import Body
from shared import codec
from shared.errors import WireError
from shared.messages import Change, Entry, Inventory
from shared.objects import ObjectKey

Content = dict[ObjectKey, tuple[int, int | None]]
"""What a node should have: for each key a number that makes its body, and a grace."""


def body_of(key: ObjectKey, number: int) -> Body:
    packed = codec.pack({"n": number, "pad": "x" * (3000 * (number % 3))})
    return Body(key, packed, codec.digest(packed))


def entries_of(content: Content) -> dict[ObjectKey, Entry]:
    return {k: Entry(body_of(k, number).digest, grace) for k, (number, grace) in content.items()}


@dataclass
class Store:
    inventory: Inventory | None = None
    change: Change | None = None
    bodies: dict[ObjectKey, Body] = field(default_factory=dict)

    def copy(self) -> Store:
        return Store(self.inventory, self.change, dict(self.bodies))

    def take(self, steps: Plan, first: int | None = None) -> int:
        """Retain the first so many messages of a plan; answers how many there were."""
        count = 0
        for message in _messages(steps):
            if first is not None and count == first:
                break
            count += 1
            if isinstance(message, Body):
                self.bodies[message.key] = message
            elif isinstance(message, Inventory):
                self.inventory = Inventory.decode(message.encode())
            elif isinstance(message, Change):
                self.change = Change.decode(message.encode())
            else:
                self.bodies.pop(message, None)
        return count

    def known(self) -> Known:
        change = self.change
        head = Head(change.revision, change.digest, change.drop) if change else None
        return Known(self.inventory, head)


def _messages(steps: Plan) -> list[Body | Inventory | Change | ObjectKey]:
    whole = [one for one in (steps.inventory, steps.change) if one is not None]
    return [*steps.bodies, *whole, *steps.clear]


@dataclass
class Agent:
    applied: Inventory = field(default_factory=lambda: Inventory(0, {}))
    bodies: dict[bytes, Body] = field(default_factory=dict)

    def read(self, store: Store) -> None:
        """As docs/protocol.md has it: the change first, the inventory when that is not enough."""
        change, mine = store.change, self.applied
        if change is None or change.revision < mine.revision:
            return
        if (change.revision, change.digest) != (mine.revision, mine.digest):
            self._apply(change, store.inventory)
        self._fetch(store)

    def _apply(self, change: Change, inventory: Inventory | None) -> None:
        for key, packed in change.bodies.items():
            self._keep(Body(key, packed, codec.digest(packed)))
        try:
            if change.base != self.applied.revision:
                raise WireError("out-of-step")
            self.applied = change.apply_to(self.applied.entries)
        except WireError:
            if inventory is not None and inventory.revision > self.applied.revision:
                self.applied = inventory

    def _fetch(self, store: Store) -> None:
        for key in self.missing():
            if key in store.bodies:
                self._keep(store.bodies[key])

    def _keep(self, body: Body) -> None:
        self.bodies[body.digest] = body

    def missing(self) -> list[ObjectKey]:
        return [key for key, e in self.applied.entries.items() if e.digest not in self.bodies]

    def birth(self) -> Applied:
        if not self.applied.revision:
            return Applied()
        return Applied(self.applied.revision, self.applied.digest)


@dataclass
class Hub:
    """One hub's view: what it wants, and what it believes the broker to hold."""

    known: Known = field(default_factory=Known)
    floor: int = 0

    def read(self, store: Store) -> None:
        self.known = store.known()

    def plan(self, content: Content, agent: Applied, knowing: int) -> Plan | None:
        wanted = Wanted(entries_of(content), frozenset())
        facts = Facts(self.known, agent, self.floor)
        return plan(wanted, facts, lambda key: body_of(key, content[key][0]), knowing)

    def publish(self, steps: Plan, store: Store, first: int | None = None) -> None:
        store.take(steps, first)
        self.known = steps.after(self.known)
        self.floor = max(self.floor, steps.inventory.revision if steps.inventory else 0)

    def restarted(self) -> Hub:
        return replace(self, known=Known(), floor=0)
