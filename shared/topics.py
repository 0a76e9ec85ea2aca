"""Every topic string of the protocol is built and taken apart here, and nowhere else.

``{root}/{slot}/{node}/…`` (docs/protocol.md). Node names are DNS-1123, so a topic never holds a
wildcard; ``slot`` is ``crc32(node) % 256`` so that one filter covers a share of the fleet.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from shared.errors import SettingsError, WireError
from shared.objects import ObjectKey, is_name

SLOTS = 256
DEFAULT_ROOT = "kubetide/v1"


def slot_of(node: str) -> int:
    return zlib.crc32(node.encode()) % SLOTS


@dataclass(frozen=True, slots=True)
class Topics:
    """The topic tree below one root, for instance ``kubetide/v1``."""

    root: str = DEFAULT_ROOT

    def __post_init__(self) -> None:
        bad = set("+#$\0") & set(self.root)
        if bad or not self.root or self.root.startswith("/") or self.root.endswith("/"):
            raise SettingsError(
                f"root: {self.root!r} is not a topic prefix; use words joined by '/', without + # $"
            )

    def hub(self) -> str:
        return f"{self.root}/hub"

    def echo(self, replica: str) -> str:
        """What a hub replica says to itself."""
        return f"{self.root}/echo/{replica}"

    def of(self, node: str) -> NodeTopics:
        return NodeTopics(f"{self.root}/{slot_of(node):02x}/{node}")

    def slot_filters(self, slot: int) -> tuple[str, ...]:
        """What a hub subscribes to for one slot: sessions first, they decide the most."""
        base = f"{self.root}/{slot:02x}/+"
        branches = ("session", "inventory", "change", "reported/#", "ask/+")
        return tuple(f"{base}/{branch}" for branch in branches)

    def narrowed(self, slot_filter: str, node: str) -> str:
        """One of ``slot_filters``, for one node of the slot."""
        slot, _, branch = slot_filter.removeprefix(f"{self.root}/").partition("/+/")
        return f"{self.root}/{slot}/{node}/{branch}"

    def parse(self, topic: str) -> tuple[str, str]:
        """Topic → (node, rest below the node). Raises WireError if it is not a node's topic."""
        prefix = self.root + "/"
        parts = topic[len(prefix) :].split("/", 2) if topic.startswith(prefix) else []
        if len(parts) != 3 or not is_name(parts[1]):
            raise WireError("bad-topic", f"{topic!r:.200}")
        if parts[0] != f"{slot_of(parts[1]):02x}":
            raise WireError("bad-topic", f"slot does not fit the node in {topic!r:.200}")
        return parts[1], parts[2]


@dataclass(frozen=True, slots=True)
class NodeTopics:
    """The topics of one node; ``base`` is ``{root}/{slot}/{node}``."""

    base: str

    @property
    def inventory(self) -> str:
        return f"{self.base}/inventory"

    @property
    def change(self) -> str:
        return f"{self.base}/change"

    @property
    def session(self) -> str:
        return f"{self.base}/session"

    @property
    def ask_token(self) -> str:
        return f"{self.base}/ask/token"

    @property
    def answer(self) -> str:
        return f"{self.base}/answer"

    @property
    def all_desired(self) -> str:
        return f"{self.base}/desired/#"

    def desired(self, key: ObjectKey) -> str:
        return f"{self.base}/desired/{key}"

    def reported(self, key: ObjectKey) -> str:
        return f"{self.base}/reported/{key}"


def key_below(rest: str, branch: str) -> ObjectKey:
    """``desired/Pod/default/web`` below branch ``desired`` → its key."""
    head, _, tail = rest.partition("/")
    if head != branch:
        raise WireError("bad-topic", f"{rest!r:.200}")
    return ObjectKey.parse(tail)
