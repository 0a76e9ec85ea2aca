"""Carries asks for tokens to the hub and its answers back, for as long as a connection lives.

Owns no state of its own: what to ask, and when again, is ``edgeagent.tokens``'. Nothing is asked
while no hub is there, because nobody would keep it. An ask is not waited for: the answer is its
acknowledgement.
"""

from __future__ import annotations

from edgeagent.tokens import DeviceTokens
from edgeagent.waking import woken
from shared.asking import ASK_EXPIRY, TokenAnswer
from shared.errors import PermanentError
from shared.link import Connection, Message
from shared.topics import NodeTopics


class Asking:
    def __init__(self, topics: NodeTopics, tokens: DeviceTokens) -> None:
        self.tokens = tokens
        self._topics = topics

    async def run(self, connection: Connection) -> None:
        """As long as the connection."""
        while True:
            self._ask(connection)
            await woken(self.tokens.wanting, within=self.tokens.pause())

    def _ask(self, connection: Connection) -> None:
        for request in self.tokens.due():
            try:
                connection.publish(
                    self._topics.ask_token,
                    request.encode(),
                    expiry=ASK_EXPIRY,
                    response_topic=self._topics.answer,
                    correlation=request.correlation,
                )
            except PermanentError as error:
                self.tokens.failed(request, str(error))

    def take(self, message: Message) -> None:
        """Raises WireError for what is no answer."""
        if message.payload:
            self.tokens.take(message.correlation, TokenAnswer.decode(message.payload))
