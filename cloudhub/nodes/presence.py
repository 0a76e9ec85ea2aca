"""Which agents are connected, from the sessions they publish. Pure state, no I/O.

Invariant: a death ends only the birth with the same instance and counter, as long as we have been
listening (who was not cannot know whether a newer birth came between). What was known is in doubt
while the hub itself has no link, and after it until the broker says it again; doubt is neither
online nor offline, and becomes ``SILENT`` when it lasts although we listen. Called by ``nodes.py``.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shared.messages import Session

DOUBT_SECONDS = 40.0
"""As long as a node's Lease: nothing is said about a node in doubt before that is over."""


class Standing(enum.Enum):
    ONLINE = "online"
    OFFLINE = "offline"
    IN_DOUBT = "in doubt"
    SILENT = "silent"
    """The broker holds no session of this node."""


class Heard(enum.Enum):
    """What a session message meant."""

    BORN = "born"
    DIED = "died"
    REPEATED = "repeated"
    STALE = "stale"
    """The death of an older connection while a newer one lives: the birth must be put back."""


@dataclass(slots=True)
class _Known:
    standing: Standing
    doubtful_since: float
    session: Session | None = None


class Presence:
    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._doubted: set[str] = set()

    def hear(self, node: str, session: Session) -> Heard:
        known = self._known.get(node)
        last = known.session if known else None
        same = last is not None and session.same_connection(last)
        if known and known.standing is Standing.ONLINE and not session.online and not same:
            return Heard.STALE
        self._doubted.discard(node)
        standing = Standing.ONLINE if session.online else Standing.OFFLINE
        self._known[node] = _Known(standing, 0.0, session)
        if same and last is not None and last.online == session.online:
            return Heard.REPEATED
        return Heard.BORN if session.online else Heard.DIED

    def expect(self, node: str, now: float) -> None:
        """A node that must exist (its Node object does), of which nothing was heard yet."""
        if node not in self._known:
            self._known[node] = _Known(Standing.IN_DOUBT, now)
            self._doubted.add(node)

    def doubt_all(self, now: float) -> None:
        """The link came or went: everything has to be heard again."""
        for node, known in self._known.items():
            if known.standing in (Standing.ONLINE, Standing.IN_DOUBT):
                known.standing, known.doubtful_since = Standing.IN_DOUBT, now
                self._doubted.add(node)

    def listen(self, heard: Callable[[str], bool], now: float) -> None:
        """From now on these nodes are heard: a doubt that was there begins only now."""
        for node in self._doubted:
            if heard(node):
                self._known[node].doubtful_since = now

    def settle(self, heard: Callable[[str], bool], now: float) -> list[str]:
        """Nodes that are heard and whose doubt has lasted too long: they are silent from now on."""
        late = [
            node
            for node in self._doubted
            if now - self._known[node].doubtful_since >= DOUBT_SECONDS and heard(node)
        ]
        for node in late:
            self._known[node].standing = Standing.SILENT
            self._doubted.discard(node)
        return late

    def forget(self, node: str) -> None:
        self._known.pop(node, None)
        self._doubted.discard(node)

    def standing(self, node: str) -> Standing:
        known = self._known.get(node)
        return known.standing if known else Standing.SILENT

    def session(self, node: str) -> Session | None:
        """The newest session that counted."""
        known = self._known.get(node)
        return known.session if known else None

    def nodes(self) -> Iterator[str]:
        return iter(list(self._known))

    def online(self) -> int:
        return sum(known.standing is Standing.ONLINE for known in self._known.values())
