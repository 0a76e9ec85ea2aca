"""What is known about one node's list: on the broker, on the device, and under way. Pure state.

Lives as long as a connection; only the highest revision outlasts it. Invariant: ``known`` is what
the broker retains, or ``doubtful`` says that this is uncertain (another hub wrote at the same
time, a publish was not acknowledged), which the next plan answers with a newer inventory.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from cloudhub.fleet.publishing import Applied, Facts, Head, Known, Plan
from shared.messages import Change, Entries, Entry, Inventory, Session
from shared.objects import ObjectKey

OWN_REMEMBERED = 16
"""Own publishes that are recognised when a broker sends them back to us."""


@dataclass(slots=True)
class Delivery:
    floor: int = 0
    others: int = 0
    """The highest revision of another hub's list of which we may not know all."""
    known: Known = field(default_factory=Known)
    applied: Applied = field(default_factory=Applied)
    doubtful: bool = False
    sending: bool = False
    inventory_came: bool = False
    head_came: bool = False
    fresh_device: bool = False
    """Its birth said that it never had a list: nothing retained has to be waited for."""
    refused: dict[ObjectKey, bytes] = field(default_factory=dict)
    missing: tuple[ObjectKey, ...] = ()
    """Entries of which the device said that it has no body."""
    owed: tuple[ObjectKey, ...] = ()
    """Those of ``missing`` that are to be published again."""
    agreed: Entries = field(default_factory=dict)
    """The last list that we published, or found to be what is wanted."""
    before: Entries = field(default_factory=dict)
    """The list before the newest: what an agent that is behind is taken to have."""
    _own: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=OWN_REMEMBERED))

    @property
    def settled(self) -> bool:
        """Whether what the broker retains was read; ``downlink`` also knows when to give up."""
        return (self.inventory_came and self.head_came) or self.fresh_device

    @property
    def revision(self) -> int:
        return self.known.inventory.revision if self.known.inventory else 0

    @property
    def in_step(self) -> bool:
        return self.applied.revision >= self.revision

    def contradicts(self, wanted: Entries, knowing: int) -> bool:
        """Whether ``wanted`` undoes what another hub said of a pod: it may know more than we do.

        If its revision is above what we know, which is ``knowing``, a pod that its list does not
        have may be gone; and of a list that only the device has we know nothing.
        """
        there = self.known.inventory.entries if self.known.inventory else {}
        undone = any(
            entry != wanted.get(key) and entry != self.agreed.get(key)
            for key, entry in there.items()
            if key.kind == "Pod"
        )
        brought = any(key.kind == "Pod" and key not in there for key in wanted)
        unseen = self.applied.revision > self.revision
        return undone or (self.others >= knowing and (brought or unseen))

    def caught_up(self, others: int) -> None:
        """We know all that the lists of others up to this revision were made of."""
        if self.others <= others:
            self.others = 0

    def known_entry(self, key: ObjectKey) -> Entry | None:
        return self.known.inventory.entries.get(key) if self.known.inventory else None

    def facts(self) -> Facts:
        return Facts(self.known, self.applied, self.floor, self.doubtful, self.refused)

    def next_life(self) -> Delivery:
        """After the connection: everything is to be read again."""
        return Delivery(floor=max(self.floor, self.revision), others=self.others)

    def _note(self, revision: int) -> None:
        """A list that somebody has, or the broker."""
        if not self._own or revision > self._own[-1][0]:
            self.others = max(self.others, revision)

    # -- what the broker says

    def see_inventory(self, found: Inventory | None, *, retained: bool) -> bool:
        """Answers whether somebody else wrote it just now: then wait before correcting it."""
        self.inventory_came = True
        if found is not None and (found.revision, found.digest) in self._own:
            return False
        self.floor = max(self.floor, found.revision if found else 0)
        self._note(found.revision if found else 0)
        if not self._own:
            self.known = replace(self.known, inventory=found)
        elif retained:
            # It was read before our own publish, which is what the broker keeps.
            self.doubtful |= found is not None and found.revision > self._own[-1][0]
        elif self.sending or (found is not None and found.revision <= self._own[-1][0]):
            self.doubtful = True
        else:
            self.known = replace(self.known, inventory=found)
        return not retained

    def see_change(self, found: Change | None, *, retained: bool) -> bool:
        self.head_came = True
        if found is not None and (found.revision, found.digest) in self._own:
            return False
        self.floor = max(self.floor, found.revision if found else 0)
        self._note(found.revision if found else 0)
        if not (self._own and retained):
            head = Head(found.revision, found.digest, found.drop) if found else None
            self.known = replace(self.known, head=head)
        return not retained

    # -- what the device says

    def see_birth(self, session: Session) -> None:
        self.applied = Applied(session.revision, session.digest)
        self._note(session.revision)
        self.missing = self.owed = session.missing
        self.fresh_device = session.revision == 0

    def see_applied(self, revision: int) -> None:
        if revision > self.applied.revision:
            digest = next((digest for own, digest in self._own if own == revision), b"")
            self.applied = Applied(revision, digest)
            self._note(revision)

    # -- what is published

    def begin(self, plan: Plan) -> None:
        self.sending = True
        if plan.inventory is not None:
            self._own.append((plan.inventory.revision, plan.inventory.digest))
            self.floor = max(self.floor, plan.inventory.revision)
            self.doubtful = False

    def end(self, plan: Plan, *, acknowledged: bool) -> None:
        """A renewal that another writer met meanwhile has left ``doubtful`` set."""
        self.sending = False
        if not acknowledged:
            self.doubtful = True
            return
        if plan.inventory is not None and self.known.inventory is not None:
            self.before = self.known.inventory.entries
        self.known = plan.after(self.known)
