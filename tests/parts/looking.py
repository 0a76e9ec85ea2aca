"""What a runtime says of one container, by whoever does not know the sandbox that it is in."""

from __future__ import annotations

from edgeagent.runtime.port import Container, Runtime


async def looked_up(runtime: Runtime, container_id: str) -> Container | None:
    for sandbox in await runtime.list_sandboxes():
        if any(one.id == container_id for one in sandbox.containers):
            return await runtime.inspect_container(container_id, sandbox.id)
    return None
