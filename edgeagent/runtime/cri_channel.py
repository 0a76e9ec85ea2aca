"""The one gRPC channel to the runtime's socket, and how long each kind of call may take.

The channel connects when it is used and again after the runtime was away, without any back-off:
it is a socket on the same machine, and the callers have a back-off of their own. The methods come
from the services that the CRI's own descriptor lists.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import grpclib.client
from google.protobuf.message_factory import GetMessageClass
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError
from grpclib.protocol import Stream
from grpclib.stream import recv_message
from h2.connection import H2Connection

from edgeagent.runtime.cri_messages import cri

QUERY_SECONDS = 20.0
"""Lists and statuses: the runtime answers these from memory."""
CHANGE_SECONDS = 120.0
"""Creating, starting, removing: disk and network work on a slow device."""
SANDBOX_SECONDS = 240.0
"""A sandbox waits for the network plug-ins."""
PULL_SECONDS = 7200.0
"""An image over a bad link; a pull that is cut off goes on from where it was."""
FLUSH_SECONDS = 120.0
"""A pulled image, and all else that the disk was not told yet."""
STOP_SLACK_SECONDS = 60.0
"""On top of the grace period, for the kill and the clean-up after it."""

REMEMBERED_CALLS = 1024
"""Ended calls that HTTP/2 remembers, to understand frames that come late for them. By default it
is 65,536, which on one connection to one runtime is 10 MB that grow for days."""
H2Connection.MAX_CLOSED_STREAMS = REMEMBERED_CALLS

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of one message; a kubelet takes no more. Only commands in containers say so much."""


class _Bounded:
    """What is read of an answer, in the words of gRPC where it is too large."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def recv_data(self, size: int) -> bytes:
        if size > LARGEST_ANSWER:
            words = f"received message larger than max ({size} vs. {LARGEST_ANSWER})"
            raise GRPCError(Status.RESOURCE_EXHAUSTED, words)
        return await self._stream.recv_data(size)


async def _received(stream: Any, codec: CodecBase, message_type: Any) -> Any:
    return await recv_message(_Bounded(stream), codec, message_type)  # type: ignore[arg-type]


grpclib.client.recv_message = _received  # type: ignore[attr-defined]  # It has no setting for it.


class CriChannel:
    """Both CRI services over one connection; made inside the running loop."""

    def __init__(self, address: str) -> None:
        self._channel = Channel(path=address.removeprefix("unix://"), codec=_Codec())
        self.runtime = self._service("RuntimeService")
        self.images = self._service("ImageService")

    def stream_of_bytes(self, path: str) -> UnaryStreamMethod[bytes, bytes]:
        """A streaming method outside the CRI, with messages left as they are on the wire."""
        return UnaryStreamMethod(self._channel, path, bytes, bytes)

    def close(self) -> None:
        self._channel.close()

    def _service(self, name: str) -> SimpleNamespace:
        described = cri.DESCRIPTOR.services_by_name[name].methods
        return SimpleNamespace(**{one.name: self._method(name, one) for one in described})

    def _method(self, service: str, described: Any) -> Any:
        kind = UnaryStreamMethod if described.server_streaming else UnaryUnaryMethod
        path = f"/runtime.v1.{service}/{described.name}"
        sent, answered = (
            GetMessageClass(described.input_type),
            GetMessageClass(described.output_type),
        )
        return kind(self._channel, path, sent, answered)


class _Codec(CodecBase):
    """Protobuf messages, and bytes as they are."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return message if isinstance(message, bytes) else bytes(message.SerializeToString())

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data if message_type is bytes else message_type.FromString(data)
