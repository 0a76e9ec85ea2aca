"""Each test gets a namespace of its own on a server that many tests share."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.apiserver.api import Api
from tests.parts.kubernetes import Cluster

_numbers = itertools.count(1)


@pytest.fixture
async def api(kubernetes: Cluster) -> AsyncIterator[Api]:
    connector = aiohttp.TCPConnector(ssl=kubernetes.tls)
    headers = {"Authorization": f"Bearer {kubernetes.token}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        api = Api(kubernetes, session, f"test-{next(_numbers)}")
        await api.created("/api/v1/namespaces", {"metadata": {"name": api.namespace}})
        yield api
    await asyncio.sleep(0.02)  # TLS connections take a moment more than their session to close


@pytest.fixture
def node_name() -> str:
    """Nodes have no namespace, so each test names its own."""
    return f"edge-{next(_numbers)}"
