"""Rows about the device: memory, idle CPU, reboot without the cloud, reconnect."""

from __future__ import annotations

import asyncio
import time

from benchmarks.counting import cpu_seconds, rss_mb
from benchmarks.rows import Row, median, spread
from edgeagent.runtime.cri import CriRuntime
from edgeagent.runtime.port import ContainerState, RuntimeAway
from tests.parts.system import System

FEW = 5
MANY = 50
MINUTE = 60.0
REBOOTS = 3


async def rows(system: System) -> list[Row]:
    names = await _pods(system, FEW)
    await asyncio.sleep(10)
    used, spent = await _idle(system)
    restarted = await _reconnect(system)
    few = [await _reboot(system, FEW) for _ in range(REBOOTS)]
    names += await _pods(system, MANY - FEW, first=FEW)
    many = await _reboot(system, MANY)
    return [
        Row(
            what="agent memory (RSS), few pods",
            ours=f"{used:.1f} MB",
            peer="115–127 MB",
            target="≤ 50 MB",
            met=used <= 50,
            method=f"VmRSS with {FEW} pods, settled, python -OO as in the systemd unit",
        ),
        Row(
            what="agent CPU, idle",
            ours=f"{spent * 100:.2f} % of one core",
            method=f"user and system time over {MINUTE:.0f} s, {FEW} pods, nothing changing",
        ),
        Row(
            what="containers restarted by a reconnect",
            ours=str(restarted),
            peer="0",
            target="0",
            met=restarted == 0,
            method="containers before and after 30 s without a link",
        ),
        Row(
            what=f"reboot with the cloud unreachable, {FEW} pods: agent start → all running",
            ours=spread(few),
            peer="1.19 s",
            target="≤ 1.2 s",
            met=median(few) <= 1.2,
            method="agent, containerd, shims and containers killed, runtime state wiped, link cut; "
            "agent started, then until the runtime has all containers running",
        ),
        Row(
            what=f"the same with {MANY} pods",
            ours=f"{many:.2f} s",
            method="one reboot, as above",
        ),
    ]


async def _pods(system: System, count: int, *, first: int = 0) -> list[str]:
    names = [f"dev-{number}" for number in range(first, first + count)]
    for name in names:
        await system.create_pod(name)
    await system.running(*names, within=300)
    return names


async def _idle(system: System) -> tuple[float, float]:
    before = cpu_seconds(system.agent.pid)
    await asyncio.sleep(MINUTE)
    return rss_mb(system.agent.pid), (cpu_seconds(system.agent.pid) - before) / MINUTE


async def _reconnect(system: System) -> int:
    before = system.running_ids()
    system.switch.cut()
    await asyncio.sleep(30)
    system.switch.restore()
    await system.node_is("True")
    await asyncio.sleep(5)
    return len(before - system.running_ids())


async def _reboot(system: System, count: int) -> float:
    """Seconds from the agent's start until ``count`` containers run; the link stays cut."""
    system.switch.cut()
    await system.agent.kill()
    await asyncio.to_thread(system.containerd.reboot)
    runtime = CriRuntime(system.containerd.address)
    try:
        started = time.monotonic()
        await system.agent.start()
        while await _running(runtime) < count:
            system.agent.check()
            await asyncio.sleep(0.02)
        took = time.monotonic() - started
    finally:
        await runtime.close()
    system.switch.restore()
    await system.node_is("True")
    await asyncio.sleep(3)
    return took


async def _running(runtime: CriRuntime) -> int:
    try:
        sandboxes = await runtime.list_sandboxes()
    except RuntimeAway:
        return 0  # containerd answers before it has read its own state
    return sum(
        container.state is ContainerState.RUNNING
        for sandbox in sandboxes
        for container in sandbox.containers
    )
