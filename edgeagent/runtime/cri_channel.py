"""The one gRPC channel to the runtime's socket, and how long each kind of call may take.

Owns the channel's options: it reconnects within a second after the runtime comes back (gRPC's own
back-off goes up to two minutes, far too long for a restarted containerd), it never goes through a
proxy, and it takes lists of the size a kubelet takes.
"""

from __future__ import annotations

from typing import Any

import grpc.aio
from cri_api.v1 import api_pb2_grpc

QUERY_SECONDS = 20.0
"""Lists and statuses: the runtime answers these from memory."""
CHANGE_SECONDS = 120.0
"""Creating, starting, removing: disk and network work on a slow device."""
SANDBOX_SECONDS = 240.0
"""A sandbox waits for the network plug-ins."""
PULL_SECONDS = 7200.0
"""An image over a bad link; a pull that is cut off goes on from where it was."""
STOP_SLACK_SECONDS = 60.0
"""On top of the grace period, for the kill and the clean-up after it."""

_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


class CriChannel:
    """Stubs of both CRI services over one channel; made inside the running loop."""

    def __init__(self, address: str) -> None:
        self.raw = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self.runtime: Any = api_pb2_grpc.RuntimeServiceStub(self.raw)
        self.images: Any = api_pb2_grpc.ImageServiceStub(self.raw)

    async def close(self) -> None:
        await self.raw.close(None)
