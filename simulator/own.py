"""A device gets its own pods only: looked at in every body that a hub publishes, as it does.

What the devices have in the end is judged by ``oracles.py``; this is about what they were told in
between, and what stayed at the broker.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared import codec
from shared.messages import Change, DesiredObject
from shared.objects import Json

STRANGER = "stranger"
"""Who publishes what is no message of ours."""


def strangers_in(node: str, topic: str, payload: bytes) -> Iterator[str]:
    """Names of pods of other nodes in a message of a hub; ``topic`` is what follows the node."""
    for pod in _pods(topic, payload):
        if pod["spec"].get("nodeName") != node:
            yield str(pod["metadata"]["name"])


def _pods(topic: str, payload: bytes) -> Iterator[Json]:
    if topic.startswith("desired/Pod/"):
        yield codec.unpack(DesiredObject.decode(payload).body)
    elif topic == "change":
        for key, body in Change.decode(payload).bodies.items():
            if key.kind == "Pod":
                yield codec.unpack(body)
