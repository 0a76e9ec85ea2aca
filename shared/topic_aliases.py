"""MQTT 5 topic aliases of one connection: a topic crosses the link once, then as a small number.

Pure. Owns which topic has which alias now; the least recently used gives way, so that the topics
of what is changing keep theirs. Aliases take effect in the order of the packets, so the caller
sends in the order in which it asked. Called by ``paho_link`` only.
"""

from __future__ import annotations

from collections import OrderedDict


class TopicAliases:
    def __init__(self, most: int = 0) -> None:
        """``most`` is the broker's Topic Alias Maximum; 0 = it wants none."""
        self._most = most
        self._aliases: OrderedDict[str, int] = OrderedDict()

    def of(self, topic: str) -> tuple[str, int | None]:
        """The topic name to send (empty: the alias says it) and the alias to send with it."""
        alias = self._aliases.pop(topic, None)
        name = topic if alias is None else ""
        if alias is None:
            alias = self._free()
        if alias is not None:
            self._aliases[topic] = alias
        return name, alias

    def _free(self) -> int | None:
        if len(self._aliases) < self._most:
            return len(self._aliases) + 1
        return self._aliases.popitem(last=False)[1] if self._aliases else None
